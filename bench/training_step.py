"""CPU seconds of our training step against stock TRL, on the same rollouts with the same advantages and the same loss.

Both start from the same random weights (fp32), get the same rollouts at every step (made up: lengths and shares below,
documents masked), make the same updates (loss `dapo`, AdamW, no KL term) and must show the same loss and gradient norm
at every step and the same weights at the end.

- ours: igsearch.training.trainer.train with the method `grpo`, whose rollouts are given. Everything else runs: rewards,
  credit, batch, loss, backward, optimiser, the line of metrics.
- stock: TRL's GRPOTrainer with the settings that ours gives it; a rollout function returns the rollouts, and a reward
  function the advantages, which TRL then neither scales nor moves (their mean within a group is 0).

A step is what lies between two lines of the log, so the seconds hold all that a step costs either of them; the first
step, which also makes the optimiser's state, does not count. Ours also logs the KL from the start policy, for which it
reads the rollouts once more; stock TRL without a KL term logs none. The ratio with a bound leaves that out on our side,
the other shows the step as it is.
"""

import copy
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
from datasets import Dataset
from harness import Report, main, over_shapes, paired, ratio
from rollout import Range
from transformers import PrinterCallback, TrainerCallback
from trl.trainer.grpo_trainer import GRPOTrainer

from igsearch.config import Config, PolicyConfig, build
from igsearch.credit.advantage import group_advantage
from igsearch.policy import tiny
from igsearch.policy.base import Policy
from igsearch.records import EndReason, Episode, Question, SearchStep, Turn
from igsearch.retrieval.base import Retriever
from igsearch.seeds import generator
from igsearch.training import trainer
from igsearch.training.arguments import arguments
from igsearch.training.metrics import Clock
from igsearch.training.run import Reinforcement
from igsearch.training.schedule import layout

WANTED = 1.3
STEPS = 3  # that count, after one that does not
SEED = 0


@dataclass(frozen=True)
class Shape:
    """Sizes of a model and of a batch of rollouts. Lengths in tokens; each is drawn evenly from its range.

    `uniform` of the `questions` are answered alike in all rollouts, so that these have no advantage.
    """

    hidden: int
    layers: int
    heads: int
    intermediate: int
    words: int
    questions: int
    group: int
    uniform: int
    prompt: Range
    documents: Range
    turn: Range
    turns: Range
    micro_batch: int | None = None

    def policy(self) -> Policy:
        """An untrained policy with a lexicon of so many words."""
        sizes = PolicyConfig(hidden=self.hidden, layers=self.layers, heads=self.heads, intermediate=self.intermediate)
        return tiny.build([f"word{number}" for number in range(self.words)], ["kar"], ["vik"], sizes)

    def __str__(self) -> str:
        lengths = {"prompt": self.prompt, "documents": self.documents, "turn": self.turn, "turns": self.turns}
        spans = ", ".join(f"{name} {least}-{most}" for name, (least, most) in lengths.items())
        model = f"hidden {self.hidden}, {self.layers} layers, intermediate {self.intermediate}, {self.words} words"
        batch = f"{self.questions} questions by {self.group} rollouts, {self.uniform} without advantage"
        return f"(Qwen2 {model}; {batch}, {self.micro_batch or 'all'} rows a pass; {spans})"


# Lengths and shares of the embedded benchmark: 38 response tokens of which 20 sampled, .42 of the groups uniform.
EMBEDDED = Shape(64, 2, 4, 128, 160, 12, 8, 5, (8, 16), (10, 14), (5, 10), (1, 4))
LARGER = Shape(256, 2, 4, 512, 2000, 4, 4, 2, (60, 80), (90, 120), (12, 28), (1, 3), micro_batch=8)


def rollouts(shape: Shape, vocabulary: int) -> list[Episode]:
    """Made-up rollouts, the same at each call, question by question."""
    random = generator("bench", "training_step")

    def draw(span: Range) -> int:
        return int(random.integers(span[0], span[1] + 1))

    def ids(span: Range) -> list[int]:
        return [int(number) for number in random.integers(0, vocabulary, draw(span))]

    episodes = []
    for number in range(shape.questions):
        prompt, question = ids(shape.prompt), Question(str(number), "nq", "who", ("right",))
        right = shape.group * (number % 2) if number < shape.uniform else 1 + number % (shape.group - 1)
        for place in range(shape.group):
            episode = Episode(question, place, prompt, end=EndReason.ANSWERED)
            episode.prediction = "right" if place < right else "wrong"
            turns = draw(shape.turns)
            for turn in range(turns):
                _write(episode, ids(shape.turn), [] if turn == turns - 1 else ids(shape.documents))
            episodes.append(episode)
    return episodes


def _write(episode: Episode, sampled: list[int], documents: list[int]) -> None:
    start = len(episode.response_ids)
    step = len(episode.steps) if documents else -1
    episode.turns.append(Turn(start, start + len(sampled), step=step))
    episode.response_ids += sampled + documents
    episode.sampled += [True] * len(sampled) + [False] * len(documents)
    episode.logprobs += [-5.0] * len(sampled) + [0.0] * len(documents)
    if documents:
        episode.steps.append(SearchStep(query="who", hits=(), new_passages=0))


def settings(shape: Shape) -> Config:
    """The configuration of both."""
    train = {
        "steps": STEPS + 1,
        "prompts_per_step": shape.questions,
        "group_size": shape.group,
        "micro_batch": shape.micro_batch,
        "checkpoint_every": 10**6,
        "validation_questions": 0,
    }
    return build({"train": train})


@dataclass
class Trained:
    """What a run leaves: loss and gradient norm of each step, the weights, and when each line was logged."""

    policy: Policy
    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    marks: list[float] = field(default_factory=list)

    def note(self, loss: float, norm: float) -> None:
        """A step is over."""
        self.marks.append(time.process_time())
        self.losses.append(loss)
        self.norms.append(norm)

    @property
    def seconds(self) -> float:
        """CPU seconds of a step, the median of all but the first."""
        return median(b - a for a, b in pairwise(self.marks))


@dataclass(frozen=True)
class Given:
    """What both are given."""

    policy: Policy
    episodes: list[Episode]
    config: Config

    def copy(self) -> Trained:
        """A run that has not begun."""
        return Trained(Policy(copy.deepcopy(self.policy.model), self.policy.tokenizer, "tiny"))

    @property
    def questions(self) -> list[Question]:
        """Each once."""
        return list({episode.question.uid: episode.question for episode in self.episodes}.values())


def given(shape: Shape) -> Given:
    """Policy, rollouts and settings of a shape."""
    policy = shape.policy()
    return Given(policy, rollouts(shape, len(policy.tokenizer)), settings(shape))


class _Nothing(Retriever):
    """Never asked."""

    def search(self, queries: Sequence[str], k: int) -> list[Any]:
        raise AssertionError("rollouts are given")


@contextmanager
def _replaced(**functions: Any) -> Iterator[None]:
    """Other functions in the module of the trainer."""
    before = {name: getattr(trainer, name) for name in functions}
    try:
        for name, function in functions.items():
            setattr(trainer, name, function)
        yield
    finally:
        for name, function in before.items():
            setattr(trainer, name, function)


def ours(inputs: Given, with_kl: bool = True) -> Trained:
    """Train with igsearch."""
    trained = inputs.copy()
    by_name = {(episode.question.uid, episode.rollout): episode for episode in inputs.episodes}

    def log(step: int, metrics: Mapping[str, float]) -> None:
        trained.note(metrics["loss"], metrics["policy/grad_norm"])

    def rollout(policy: Policy, retriever: Any, questions: Any, numbers: Any, *_: Any) -> list[Episode]:
        return [by_name[question.uid, number] for question, number in zip(questions, numbers, strict=True)]

    replaced: dict[str, Any] = {"rollout": rollout}
    if not with_kl:
        replaced["drift"] = lambda *_: (0.0, 1)
    with _replaced(**replaced), tempfile.TemporaryDirectory() as work:
        trainer.train(
            trained.policy, _Nothing(), inputs.questions, [], inputs.config, "grpo", SEED, Path(work) / "run", log
        )
    return trained


class _Marks(TrainerCallback):
    def __init__(self, trained: Trained) -> None:
        self.trained = trained

    def on_log(self, *_: Any, **passed: Any) -> None:
        """One line a step, and one at the end without a loss."""
        logs = passed["logs"]
        if "loss" in logs:
            self.trained.note(logs["loss"], logs["grad_norm"])


def stock(inputs: Given) -> Trained:
    """Train with TRL's own trainer."""
    trained, group = inputs.copy(), inputs.config.train.group_size
    by_name = {(episode.question.uid, episode.rollout): episode for episode in inputs.episodes}
    rewards = torch.tensor([float(episode.prediction == "right") for episode in inputs.episodes])
    advantages = group_advantage(rewards, [episode.question.uid for episode in inputs.episodes]).tolist()
    advantage_of = dict(zip(by_name, advantages, strict=True))

    def roll_out(prompts: list[str], _: Any) -> dict[str, list[Any]]:
        names = [(uid, place % group) for place, uid in enumerate(prompts)]
        episodes = [by_name[name] for name in names]
        return {
            "prompt_ids": [episode.prompt_ids for episode in episodes],
            "completion_ids": [episode.response_ids for episode in episodes],
            "logprobs": [episode.logprobs for episode in episodes],
            "env_mask": [[int(sampled) for sampled in episode.sampled] for episode in episodes],
            "advantage": [advantage_of[name] for name in names],
        }

    def reward(advantage: list[float], **_: Any) -> list[float | None]:
        return list(advantage)

    with tempfile.TemporaryDirectory() as work, trainer._quiet():
        run = _run(inputs, trained.policy, Path(work))
        stocked = GRPOTrainer(
            model=trained.policy.model,
            reward_funcs=[reward],
            args=arguments(run, layout(inputs.config.train), on_cpu=True),
            train_dataset=Dataset.from_dict({"prompt": run.order()}),
            processing_class=trained.policy.tokenizer,
            rollout_func=roll_out,
        )
        stocked.remove_callback(PrinterCallback)
        stocked.add_callback(_Marks(trained))
        stocked.train()
    trainer._restore(trained.policy.model, "")
    return trained


def _run(inputs: Given, policy: Policy, work: Path) -> Reinforcement:
    """From which our trainer takes TRL's settings and the order of the questions."""
    return Reinforcement(
        policy=policy,
        retriever=_Nothing(),
        questions={question.uid: question for question in inputs.questions},
        validation=[],
        config=inputs.config,
        method=inputs.config.method("grpo"),
        seed=SEED,
        work=work,
        log=lambda *_: None,
        clock=Clock(),
    )


def differences(one: Trained, other: Trained) -> dict[str, float]:
    """The largest of any step: loss, gradient norm, and of any weight at the end."""
    weights = zip(one.policy.model.parameters(), other.policy.model.parameters(), strict=True)
    return {
        "loss": max(abs(a - b) for a, b in zip(one.losses, other.losses, strict=True)),
        "gradient norm": max(abs(a - b) for a, b in zip(one.norms, other.norms, strict=True)),
        "weight": max(float((a - b).detach().abs().max()) for a, b in weights),
    }


def compare(name: str, shape: Shape, repeats: int, report: Report) -> None:
    """Add one shape to the report."""
    inputs = given(shape)
    found = differences(ours(inputs), stock(inputs))
    report.differences |= {f"{what}, {name}": value for what, value in found.items()}
    ways: dict[str, Callable[[], Trained]] = {
        "stock": lambda: stock(inputs),
        "ours": lambda: ours(inputs),
        "ours without its logged KL": lambda: ours(inputs, with_kl=False),
    }
    seconds = paired(ways, repeats, lambda way: way().seconds, warm_up=0)  # a way warms itself up
    for way, taken in seconds.items():
        report.figures[f"CPU seconds of a step, {name}, {way}"] = round(median(taken), 4)
    report.ratios.append(ratio(name, seconds, "stock", "ours without its logged KL", at_least=WANTED))
    report.ratios.append(ratio(f"{name}, the whole step", seconds, "stock", "ours"))


def row(quick: bool, repeats: int) -> Report:
    """Both shapes; with --quick the embedded one."""
    shapes = {"embedded": EMBEDDED} if quick else {"embedded": EMBEDDED, "larger": LARGER}
    return over_shapes("training_step", shapes, compare, repeats)


if __name__ == "__main__":
    main(row)
