"""The stages of the pipeline: what flows/, dvc.yaml and the command line all call.

`table` says what each stage depends on and makes, `rule` decides whether it is up to date and runs it, and there is one
module per stage that does the work.
"""
