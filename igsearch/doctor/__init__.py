"""`igsearch doctor`: what a set-up has and lacks, and what to do about it.

Each check is a pure function of facts; the facts are gathered beside it, in milliseconds and without torch, MLflow or
a JVM, and gathering never fails: a broken set-up is what this is for.
"""
