"""PopQA: a table (or its JSON form) with one fact a row. `possible_answers` is a list written as JSON inside a string.

akariasai/PopQA has 14,267 test questions. The popularity of the subject, `s_pop`, stays in the metadata.
"""

from typing import Any

from igsearch.benchmarks.files import Parsed, Record


def hops(record: Record) -> int | None:
    """One: each question asks for the object of one fact."""
    return 1


def _popularity(record: Record) -> dict[str, Any]:
    """Monthly page views of subject and object as numbers; a table has them as text."""
    views = {name: record.number(name) for name in ("s_pop", "o_pop")}
    return {name: number for name, number in views.items() if number is not None}


def parse(record: Record) -> Parsed:
    """One question."""
    answers = Record({"possible_answers": record.parsed("possible_answers")}, record.where).texts("possible_answers")
    metadata = {**record.keep("subj", "prop", "obj", "s_wiki_title", "o_wiki_title"), **_popularity(record)}
    return Parsed(record.identity("id"), record.text("question"), answers, hops(record), metadata)
