"""Started by torchrun from test_processes.py: trains a method, from the policy in one folder, in another folder.

With `one_mixed` all questions but one are answered alike in all rollouts: without a KL term the process that has not
got that one has nothing to read.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import batches
import scripted
from training_runs import QUESTIONS, settings

from igsearch.config import PolicyConfig
from igsearch.policy.load import load_policy
from igsearch.records import Episode
from igsearch.rollout.environment import rollout
from igsearch.training import trainer


def one_mixed(roll_out: Callable[..., list[Episode]]) -> Callable[..., list[Episode]]:
    """`roll_out` with other answers: right in all but the first rollout of one question."""

    def answered(*given: Any) -> list[Episode]:
        episodes = roll_out(*given)
        for episode in episodes:
            wrong = episode.question == batches.QUESTIONS["mixed"] and episode.rollout == 0
            episode.prediction = "nobody" if wrong else episode.question.answers[0]
        return episodes

    return answered


def changes(kind: str) -> dict[str, Any]:
    """The settings of both tests."""
    if kind == "one_mixed":
        return {"steps": 2, "mini_batches": 1, "beta": 0.0}
    return {"steps": 2, "beta": 0.05, "validation_questions": 4, "validate_every": 1}


def main(kind: str, method: str, policy: str, work: str) -> None:
    shelf, config = scripted.Shelf(**batches.PASSAGES), settings(**changes(kind))
    if kind == "one_mixed":
        vars(trainer)["rollout"] = one_mixed(rollout)
    trainer.train(
        load_policy(PolicyConfig(name=policy)),
        shelf,
        QUESTIONS,
        QUESTIONS,
        config,
        method,
        0,
        Path(work),
        lambda step, metrics: None,
        resume=True,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
