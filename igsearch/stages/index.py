"""The Lucene index of the corpus. Its card alone is the output: Lucene's own files differ in bytes at every build."""

import shutil

from igsearch.retrieval import lucene
from igsearch.stages.rule import Context


def run(context: Context) -> None:
    """Build the index into its folder; the card goes to where outputs go."""
    folder = context.layout.at(context.plan.output_names[0]).parent
    lucene.build(
        context.input("corpus"), folder, context.config.retrieval, lambda done: context.progress("passages", done, 0)
    )
    shutil.copy2(folder / "card.json", context.out)
