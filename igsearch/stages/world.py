"""The synthetic world: the raw data, for profiles that ask for it."""

from igsearch.benchmarks import world
from igsearch.stages.rule import Context


def run(context: Context) -> None:
    """Write corpus.jsonl and benchmarks/. UserError where this would remove files that are no world's."""
    world.require_replaceable(context.layout.at("questions"))
    world.write(context.config.world, context.staging)
