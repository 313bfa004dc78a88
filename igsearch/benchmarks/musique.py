"""MuSiQue-Ans: `answer` and `answer_aliases`, and a `question_decomposition` with one step per hop.

dgslibisey/MuSiQue has 2,417 questions for evaluation and 19,938 for training (CC BY 4.0). Of MuSiQue-Full, which mixes
in questions that cannot be answered, only the answerable are read.
"""

import re

from igsearch.benchmarks.files import Parsed, Record, unique


def hops(record: Record) -> int | None:
    """The number of steps; without a decomposition, what the id says ("3hop1__…"); else None."""
    steps = record.get("question_decomposition")
    if isinstance(steps, list) and steps:
        return len(steps)
    told = re.match(r"(\d)hop", record.identity("id") or "")
    return int(told[1]) if told else None


def _answers(record: Record) -> tuple[str, ...]:
    aliases = record.get("answer_aliases") or []
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        raise record.error('"answer_aliases" must be a list of strings')
    return unique([record.text("answer"), *aliases])


def parse(record: Record) -> Parsed | None:
    """One question; None where it cannot be answered."""
    if record.get("answerable") is False:
        return None
    metadata = record.keep("question_decomposition")
    return Parsed(record.identity("id"), record.text("question"), _answers(record), hops(record), metadata)
