"""Bamboogle: 125 two-hop questions. The original is a table with Question and Answer; JSON forms differ in their names.

chiayewken/bamboogle, test. Most forms have one answer and no aliases.
"""

from igsearch.benchmarks.files import Parsed, Record


def hops(record: Record) -> int | None:
    """Two, by construction."""
    return 2


def parse(record: Record) -> Parsed:
    """One question."""
    answers = record.texts("Answer", "answer", "answers")
    return Parsed(record.identity("id"), record.text("Question", "question"), answers, hops(record))
