"""How many counterfactual draws information gain needs: the error of N draws, of stopping early, and what each costs.

The rollouts are those of the project's benchmark (`make benchmark` first), for as many questions as four training steps
have: of its warm start, and of a policy trained from it, on training questions over its index. Their gains are measured
with 64 draws for each step, and again with fewer: N of them, or at most N, fewer where the standard error of their mean
is small enough (`information_gain.standard_error`). What is asked: how far the gain is from that of 64 draws (root mean
square, nats), what share of the gains' own standard deviation that is, for how many steps the stabilised bonus differs
by more than 0.1, how many draws were made, and the CPU seconds. The draws are the first of the 64, which flatters every
setting: with 8 of 64 the two means have an eighth of their draws in common.
"""

import statistics
from functools import partial
from pathlib import Path

import torch
from harness import Report, cpu_seconds, main

from igsearch.benchmarks.prepare import read_split
from igsearch.config import Config, PolicyConfig, load
from igsearch.credit.ig_search import stabilise
from igsearch.errors import UserError
from igsearch.methods import InformationGainConfig
from igsearch.policy.base import Policy
from igsearch.policy.load import load_policy
from igsearch.records import Episode
from igsearch.retrieval.lucene import LuceneRetriever
from igsearch.rewards.information_gain import StepGain, information_gain
from igsearch.rollout.environment import rollout

MOST = 64
SETTINGS: tuple[tuple[int, float | None], ...] = (
    *((1, None), (2, None), (3, None), (8, None)),
    *((8, 0.4), (8, 0.2), (8, 0.1), (16, 0.1)),
)
KEY = (0, "bench", "draws")


def episodes_of(config: Config, policy: Policy, questions: int) -> list[Episode]:
    """The rollouts of one training step."""
    index = Path("artifacts/index")
    if not (index / "lucene").is_dir():
        raise UserError(f"no index at {index}; run `make benchmark` first")
    pool = [each for name in config.data.train for each in read_split(Path("artifacts/prepared"), name, "train")]
    asked = [each for each in pool[:: len(pool) // questions][:questions] for _ in range(config.train.group_size)]
    numbers = [place % config.train.group_size for place in range(len(asked))]
    retriever = LuceneRetriever(index, config.retrieval)
    return rollout(policy, retriever, asked, numbers, config.rollout, config.retrieval.k, KEY)


def measured(gains: list[list[StepGain | None]]) -> list[StepGain]:
    """The steps that were scored, in order."""
    return [gain for row in gains for gain in row if gain is not None]


def compare(name: str, config: Config, questions: int, report: Report) -> None:
    """Add one policy to the report."""
    policy = load_policy(PolicyConfig(name=name))
    episodes = episodes_of(config, policy, questions)
    method = config.method("ig_search")
    plain = method.information_gain or InformationGainConfig()

    def gains(draws: int, standard_error: float | None) -> list[StepGain]:
        settings = plain.model_copy(update={"draws": draws, "standard_error": standard_error})
        return measured(information_gain(policy, episodes, settings, KEY))

    exact = gains(MOST, None)
    spread = statistics.stdev(each.gain for each in exact)
    single = statistics.fmean(statistics.stdev(each.random) for each in exact)
    report.figures[name] = (
        f"{len(episodes)} rollouts, {len(exact)} steps; standard deviation of the gain over steps {spread:.2f} nats, "
        f"of one draw within a step {single:.2f}"
    )
    for draws, error in SETTINGS:
        found = gains(draws, error)
        apart = statistics.fmean((a.gain - b.gain) ** 2 for a, b in zip(found, exact, strict=True)) ** 0.5
        bonuses = [
            abs(stabilise(a.gain, method.stabiliser) - stabilise(b.gain, method.stabiliser))
            for a, b in zip(found, exact, strict=True)
        ]
        made = statistics.fmean(len(each.random) for each in found)
        seconds = statistics.median(cpu_seconds(partial(gains, draws, error)) for _ in range(3))
        off = statistics.fmean(each > 0.1 for each in bonuses)
        setting = f"N {draws}{'' if error is None else f', standard error {error}'}"
        report.figures[f"{name}, {setting}"] = (
            f"{made:.1f} draws, error {apart:.3f} nats ({apart / spread:.0%} of the spread), bonus off by > 0.1 in "
            f"{off:.0%}, {seconds:.2f} CPU s"
        )


def row(quick: bool, repeats: int) -> Report:
    """The warm start, and the policy that `ig_search` makes of it."""
    torch.set_num_threads(1)
    config = load()
    questions = 4 if quick else 4 * config.train.prompts_per_step
    report = Report("draws", {"benchmark": f"{config.profile}, {questions} questions by {config.train.group_size}"})
    for name in ("artifacts/warm_start", "artifacts/train/ig_search-0/policy")[: 1 if quick else 2]:
        compare(name, config, questions, report)
    return report


if __name__ == "__main__":
    main(row)
