"""The start of training: a tiny policy that has seen demonstrations, or a card that names a pretrained one."""

from igsearch.provenance import write_json
from igsearch.stages import inputs
from igsearch.stages.rule import Context
from igsearch.training.warm_start import warm_start


def run(context: Context) -> None:
    """Write a Hugging Face directory, or start.json where the profile asks for no warm start."""
    config = context.config
    if config.warm_start is None:
        start = {"policy": config.policy.name, "digest": context.plan.inputs["data policy"]}
        write_json(context.out / inputs.START, start)
        return

    def progress(step: int, steps: int, loss: float) -> None:
        context.progress(f"warm start, loss {loss:.3f}", step, steps)

    warm_start(config, inputs.retriever(context), context.out, progress)
