"""What is trained when: the questions of each step, the method as it stands then, and the cutting of its rollouts."""

from collections.abc import Sequence
from dataclasses import dataclass

from igsearch.config import TrainConfig
from igsearch.errors import UserError
from igsearch.methods import CreditConfig
from igsearch.records import Question
from igsearch.seeds import generator


@dataclass(frozen=True, slots=True)
class Layout:
    """One process: rollouts per forward pass, forward passes per update, forward passes per batch of rollouts."""

    micro_batch: int
    passes_per_update: int
    passes_per_batch: int


def layout(config: TrainConfig, processes: int = 1) -> Layout:
    """Cut `prompts_per_step x group_size` rollouts evenly, groups whole. UserError names what does not divide."""
    if config.prompts_per_step % processes:
        raise UserError(f"train.prompts_per_step={config.prompts_per_step} does not divide into {processes} processes")
    rollouts = config.prompts_per_step * config.group_size
    per_update, rest = divmod(rollouts, config.mini_batches * processes)
    if rest:
        raise UserError(
            f"{rollouts} rollouts per step (train.prompts_per_step x train.group_size) do not divide into "
            f"{config.mini_batches} train.mini_batches on {processes} processes; change one of them"
        )
    micro_batch = config.micro_batch or per_update
    if per_update % micro_batch:
        raise UserError(
            f"train.micro_batch={micro_batch} does not divide the {per_update} rollouts per update and process"
        )
    passes = per_update // micro_batch
    return Layout(micro_batch, passes, passes * config.mini_batches)


def questions_of_step(questions: Sequence[Question], seed: int, step: int, count: int) -> list[Question]:
    """The `count` different questions of a step (from 0): a function of the run's seed and the step alone.

    Every epoch walks through its own permutation and leaves out the remainder that fills no step. UserError where there
    are fewer than `count` questions.
    """
    if len(questions) < count:
        raise UserError(f"{len(questions)} training questions are fewer than train.prompts_per_step={count}")
    epoch, place = divmod(step, len(questions) // count)
    order = generator(seed, "questions", epoch).permutation(len(questions))
    return [questions[index] for index in order[place * count : (place + 1) * count]]


def method_of_step(method: CreditConfig, step: int, steps: int) -> CreditConfig:
    """The method at a step (from 0) of `steps`: with the alpha that its decay leaves, falling from the whole to 0."""
    if method.alpha_decay == "none":
        return method
    return method.model_copy(update={"alpha": method.alpha * (1 - step / steps)})


def validation_questions(questions: Sequence[Question], count: int) -> list[Question]:
    """`count` questions, as evenly as they allow over the benchmarks; the same for every run, step and seed."""
    by_benchmark: dict[str, list[Question]] = {}
    for question in questions:
        by_benchmark.setdefault(question.benchmark, []).append(question)
    ranked = [
        (place, benchmark, group[index])
        for benchmark, group in sorted(by_benchmark.items())
        for place, index in enumerate(generator("validation", benchmark).permutation(len(group)))
    ]
    return [question for _, _, question in sorted(ranked, key=lambda item: item[:2])[:count]]
