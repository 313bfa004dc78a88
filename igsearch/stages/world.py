"""The synthetic world: the raw data, for profiles that ask for it."""

from igsearch.benchmarks import world
from igsearch.errors import UserError
from igsearch.stages.rule import Context


def run(context: Context) -> None:
    """Write corpus.jsonl and benchmarks/. UserError where this would remove files that are no world's."""
    corpus = context.layout.at("corpus")
    if not world.require_replaceable(context.layout.at("questions")) and corpus.exists() and not context.plan.card:
        raise UserError(f"{corpus} is no world's; move it elsewhere, or use it with data.synthetic=false")
    world.write(context.config.world, context.staging)
