"""A training run: what it is made of, and what it keeps in its folder."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from igsearch.config import Config
from igsearch.methods import CreditConfig
from igsearch.policy.base import Policy
from igsearch.policy.load import save_policy
from igsearch.records import Question
from igsearch.retrieval.base import Retriever
from igsearch.training import checkpoint
from igsearch.training.metrics import Clock, History, Metrics
from igsearch.training.schedule import questions_of_step
from igsearch.training.verification import Oracle

Log = Callable[[int, Metrics], None]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a training run is made of. `clock` measures its phases (`retriever` reports to it)."""

    policy: Policy
    retriever: Retriever
    questions: Mapping[str, Question]
    validation: Sequence[Question]
    config: Config
    method: CreditConfig
    seed: int
    work: Path
    log: Log
    clock: Clock

    @property
    def history(self) -> History:
        """The metrics of all steps so far."""
        return History(self.work / "metrics.jsonl")

    @property
    def checkpoints(self) -> Path:
        """The folder of whole checkpoints."""
        return self.work / "checkpoints"

    @property
    def staging(self) -> Path:
        """Where checkpoints are written before they are whole."""
        return self.work / "staging"

    def record(self, step: int, metrics: Metrics) -> None:
        """Write the line of a step, with the seconds since the last one."""
        line = metrics | self.clock.take()
        self.history.append(step, line)
        self.log(step, line)


@dataclass(frozen=True, kw_only=True)
class Reinforcement(Run):
    """A run of reinforcement learning; `oracle` checks it."""

    oracle: Oracle | None = None

    @property
    def scored_by_start(self) -> bool:
        """Whether the start policy is the one that scores the information gain."""
        return self.method.information_gain is not None and self.method.information_gain.scorer == "start"

    @property
    def reference(self) -> Path:
        """The start policy, kept for the KL term."""
        return self.work / "reference"

    def order(self) -> list[str]:
        """The uids of the questions, step after step."""
        train, questions = self.config.train, list(self.questions.values())
        steps = (questions_of_step(questions, self.seed, step, train.prompts_per_step) for step in range(train.steps))
        return [question.uid for step in steps for question in step]

    def start(self, resume: bool, owner: bool) -> Path | None:
        """The checkpoint to go on from, or None. The process that owns the folder clears what comes after it.

        The start policy is written down for the KL term, which must not follow the policy after a resume.
        """
        found = checkpoint.latest(self.checkpoints) if resume else None
        if owner:
            self.work.mkdir(parents=True, exist_ok=True)
            self._forget_after(found[1] if found else -1)
            if self.config.train.beta and not self.reference.exists():
                save_policy(self.policy, self.reference)
        return found[0] if found else None

    def _forget_after(self, step: int) -> None:
        """-1: everything, since the run starts over."""
        shutil.rmtree(self.staging, ignore_errors=True)
        checkpoint.forget_after(self.checkpoints, step)
        self.history.truncate(step)
        if step < 0:
            shutil.rmtree(self.reference, ignore_errors=True)
