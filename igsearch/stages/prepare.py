"""The benchmarks in FlashRAG form, with their cards."""

from igsearch.benchmarks.prepare import prepare_all
from igsearch.stages.rule import Context


def run(context: Context) -> None:
    """Write <benchmark>/<split>.jsonl."""
    questions = None if context.config.data.hub else context.input("questions")
    prepare_all(context.config, context.out, questions)
