"""Episodes that the real environment made from scripts: ragged turns, masked documents, three kinds of group."""

from collections.abc import Sequence

import scripted
import torch

from igsearch.policy.base import Policy
from igsearch.records import Episode, Question
from igsearch.rewards.information_gain import StepGain
from igsearch.rewards.signals import Signals
from igsearch.rollout.prompts import prompt_ids

GOLD = {"gold_paragraphs": [{"title": "torras", "text": "torras was the kardon by baldon ."}]}
QUESTIONS = {
    "mixed": Question("mixed", "nq", "who wrote karvik", ("meldon", "meldon ras")),
    "failed": Question("failed", "musique", "where was the karvik by torras born", ("baldon",), metadata=GOLD),
    "solved": Question("solved", "nq", "who was torvik", ("kardon",)),
}
SCRIPTS = [
    (
        "mixed",
        "<think> who </think><search> karvik </search>|<refine> karvik meldon </refine><answer> meldon </answer>",
    ),
    ("mixed", "<search> torras by </search>|<think> who </think><search> karvik </search>|<answer> torras </answer>"),
    ("mixed", "<answer> meldon </answer>"),
    (
        "failed",
        "<search> torras </search>|<refine> baldon </refine><search> the torras </search>|<answer> karvik </answer>",
    ),
    ("failed", "<search> balvik </search>|<answer> karvik </answer>"),
    ("failed", "who wrote|<search> melvik </search>|<refine> melvik </refine><answer> melvik </answer>"),
    ("solved", "<search> torvik </search>|<refine> kardon </refine><answer> kardon </answer>"),
    ("solved", "<search> who was torvik </search>|<answer> kardon </answer>"),
]
PASSAGES = {
    "karvik": "karvik was born in meldon .",
    "torras": "torras was the kardon by baldon .",
    "melvik": "where is melvik .",
    "torvik": "the torvik was by kardon in torras . ? is",
}


def sharpen(policy: Policy, seed: int = 3) -> Policy:
    """Random weights so large that no two log-probabilities are close by accident."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return policy


def signals(gains: Sequence[Sequence[StepGain | None]]) -> list[Signals]:
    """The gains of each episode, as measured."""
    return [Signals(tuple(row)) for row in gains]


def episodes(policy: Policy, passages: dict[str, str] | None = None) -> list[Episode]:
    """The eight episodes of SCRIPTS; `passages` replace some of PASSAGES."""
    turns = [script.split("|") for _, script in SCRIPTS]
    played = scripted.play(policy, turns, scripted.Shelf(**{**PASSAGES, **(passages or {})}))
    seen: dict[str, int] = {}
    for episode, (name, _) in zip(played, SCRIPTS, strict=True):
        episode.question = QUESTIONS[name]
        episode.rollout = seen.setdefault(name, 0)
        episode.prompt_ids = prompt_ids(policy, episode.question.text, scripted.settings(policy))
        seen[name] += 1
    return played
