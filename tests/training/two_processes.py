"""Started by torchrun from test_processes.py: trains a method, from the policy in one folder, in another folder."""

import sys
from pathlib import Path

import batches
import scripted
from training_runs import QUESTIONS, settings

from igsearch.config import PolicyConfig
from igsearch.policy.load import load_policy
from igsearch.training import trainer


def main(method: str, policy: str, work: str) -> None:
    shelf = scripted.Shelf(**batches.PASSAGES)
    config = settings(steps=2, beta=0.05, validation_questions=4, validate_every=1)
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
