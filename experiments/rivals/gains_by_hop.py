"""What each search of a rollout is credited with before any normalisation, by the question's hops.

    python experiments/rivals/gains_by_hop.py artifacts/train/grpo-0/policy [QUESTIONS]

Rollouts of the policy on training questions of params.yaml's world, eight a question, at temperature 1. For each
search: IGPO's turn reward (belief after it minus belief before it) and the information gain of `ig_search` and of
`ig_search_shared` (against other documents in the same place), mean and standard error over questions, in nats. It
needs the index and the questions that `make benchmark` leaves.
"""

import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev

import torch

from igsearch.benchmarks.prepare import read_split
from igsearch.config import Config, PolicyConfig, load
from igsearch.credit.igpo import turn_rewards
from igsearch.policy.base import Policy
from igsearch.policy.load import load_policy
from igsearch.records import Episode, Question
from igsearch.retrieval.lucene import LuceneRetriever
from igsearch.rewards.signals import measure
from igsearch.rollout.environment import rollout
from igsearch.rollout.prompts import STYLES

GROUP, KEY = 8, (99, 0)


def questions(config: Config, count: int) -> list[Question]:
    """Training questions, the same for every policy."""
    found = [each for name in config.data.train for each in read_split(Path("artifacts/prepared"), name, "train")]
    random.Random(5).shuffle(found)
    return found[:count]


def credits(
    policy: Policy, episodes: Sequence[Episode], config: Config
) -> Iterator[tuple[str, list[Sequence[float | None]]]]:
    """By name, what each search of each episode is credited with; None where it was not measured."""
    scaffold, unsolved = STYLES[config.rollout.prompt].forced_answer, [0.0] * len(episodes)  # so that all are scored
    for name in ("igpo", "ig_search", "ig_search_shared"):
        method = config.method(name).model_copy(update={"novelty_gate": False})  # behind one nothing is measured
        signals = measure(policy, episodes, method, KEY, unsolved, scaffold)
        if method.igpo:
            beliefs = [each.beliefs for each in signals]
            yield name, [turn_rewards(each.first, each.after, method.igpo) for each in beliefs]
        else:
            yield name, [[gain.gain if gain else None for gain in each.gains] for each in signals]


def line(name: str, episodes: Sequence[Episode], values: Sequence[Sequence[float | None]]) -> str:
    """One method, by hops and number of the search: mean and standard error over questions, as the rollouts of one
    question are not independent."""
    cells: dict[tuple[int, int], dict[str, list[float]]] = {}
    for episode, row in zip(episodes, values, strict=True):
        for step, value in enumerate(row, start=1):
            if value is not None:
                by_question = cells.setdefault((episode.question.hops or 0, step), {})
                by_question.setdefault(episode.question.uid, []).append(value)
    shown = [_cell(hops, step, [fmean(of) for of in each.values()]) for (hops, step), each in sorted(cells.items())]
    return "\n".join([name, *filter(None, shown)])


def _cell(hops: int, step: int, means: Sequence[float]) -> str:
    if len(means) < 2:
        return ""
    error = stdev(means) / len(means) ** 0.5
    return f"  {hops} hops, search {step}: {fmean(means):+.2f} ± {error:.2f} ({len(means)} questions)"


def main(folder: str, count: int = 400) -> None:
    """Print the table of one policy."""
    config = load()
    policy = load_policy(PolicyConfig(name=folder, dtype="float32"))
    asked = [each for each in questions(config, count) for _ in range(GROUP)]
    numbers = list(range(GROUP)) * (len(asked) // GROUP)
    retriever = LuceneRetriever(Path("artifacts/index"), config.retrieval)
    with torch.no_grad():
        episodes = rollout(policy, retriever, asked, numbers, config.rollout, config.retrieval.k, (*KEY, "rollout"))
        for name, values in credits(policy, episodes, config):
            print(line(name, episodes, values))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
