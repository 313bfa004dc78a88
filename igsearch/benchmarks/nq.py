"""Natural Questions, open (`nq_open`): one object a line, `question` and a list `answer`; it has no ids.

google-research-datasets/nq_open: 3,610 questions for evaluation, 87,925 for training (CC BY-SA 3.0).
"""

from igsearch.benchmarks.files import Parsed, Record


def hops(record: Record) -> int | None:
    """Not known: most are single-hop, and nothing in the data says which."""
    return None


def parse(record: Record) -> Parsed:
    """One question."""
    return Parsed(record.identity("id"), record.text("question"), record.texts("answer"))
