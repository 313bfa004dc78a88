"""HotpotQA: `_id` (hub rows: `id`), `question`, one `answer`, `type` (bridge or comparison), `supporting_facts`.

hotpotqa/hotpot_qa has 7,405 questions for evaluation and 90,447 for training (CC BY-SA 4.0). The paragraphs of
`context` are not kept but for the gold ones: passages come from the corpus.
"""

from igsearch.benchmarks.files import Parsed, Record


def hops(record: Record) -> int | None:
    """Two, by construction."""
    return 2


def parse(record: Record) -> Parsed:
    """One question."""
    metadata = record.keep("type", "level", "supporting_facts")
    return Parsed(
        record.identity("_id", "id"), record.text("question"), (record.text("answer"),), hops(record), metadata
    )
