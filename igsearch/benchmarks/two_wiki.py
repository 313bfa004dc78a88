"""2WikiMultihopQA: HotpotQA's form with `evidences` (triples); some copies have no `context`.

xanhho/2WikiMultihopQA has 12,576 questions for evaluation (Apache-2.0). Aliases of answers exist in the original
release in a file of its own; the papers of this field do not use it, nor do we.
"""

from igsearch.benchmarks.files import Parsed, Record


def hops(record: Record) -> int | None:
    """Four facts where two bridges are compared, else two; None where the type is not told."""
    kind = record.get("type")
    return (4 if kind == "bridge_comparison" else 2) if kind else None


def parse(record: Record) -> Parsed:
    """One question."""
    metadata = record.keep("type", "evidences", "supporting_facts")
    return Parsed(
        record.identity("_id", "id"), record.text("question"), (record.text("answer"),), hops(record), metadata
    )
