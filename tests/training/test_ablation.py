"""The presets of the profile `ablation`: what each changes, that each trains, and what must be equal to what."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import batches
import pytest
import scripted
import torch

from igsearch import credit
from igsearch.benchmarks import world
from igsearch.config import Config, build, load
from igsearch.credit.control import controlled
from igsearch.methods import METHODS, CreditConfig
from igsearch.policy import tiny
from igsearch.policy.base import Policy
from igsearch.records import Episode
from igsearch.rewards.answer import episode_reward
from igsearch.rewards.contexts import answer_ids
from igsearch.rewards.signals import measure
from igsearch.training.batch import credit_batch
from igsearch.training.schedule import method_of_step
from igsearch.training.step import train_step

ABLATION = load("ablation")
BASES = ("ig_search_shared", "ig_search")
PRESETS = [name for name in ABLATION.methods if name not in METHODS]
UNTOLD = {"ig_search_no_head_weight", "ig_search_think"}
"""The presets that the synthetic world cannot tell from their base."""
SMALL = Config.model_validate(
    {
        "rollout": {"max_searches": 2, "max_turn_tokens": 8, "max_response_tokens": 60},
        "train": {"group_size": 4, "steps": 2},
    }
)
KEY = (1, 0)


def base_of(name: str) -> str:
    return next(base for base in ("ig_search_n8_", *BASES) if name.startswith(base)).removesuffix("_")


def differences(one: Mapping[str, Any], other: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for key, value in one.items():
        if isinstance(value, dict) and isinstance(other[key], dict):
            yield from differences(value, other[key], f"{path}{key}.")
        elif value != other[key]:
            yield f"{path}{key}"


@pytest.mark.parametrize("name", BASES)
def test_the_forms_that_presets_start_from_are_those_of_the_defaults(name: str) -> None:
    assert ABLATION.methods[name] == METHODS[name]


def test_every_preset_that_can_differ_is_run_and_they_are_few() -> None:
    assert set(ABLATION.benchmark.methods) == {"grpo", *BASES, *PRESETS} - UNTOLD
    assert len(PRESETS) == 26
    assert set(PRESETS) > UNTOLD


def test_the_world_cannot_tell_weights_on_the_head_of_an_answer_from_none() -> None:
    """All tokens of its first gold answers, of which one is scored, are head tokens."""
    config = build({"world": {"train_questions": 200}})
    lexicon, training = world.lexicon(config.world), world.generate(config.world)["train"]
    policy = tiny.build(lexicon.words, lexicon.stems, lexicon.suffixes, config.policy)
    gain = METHODS["ig_search"].information_gain
    assert gain
    questions = [question for name in config.data.train for question in training.questions[name]]
    assert len(questions) == 600
    assert max(len(answer_ids(policy, each.answers[0], gain)) for each in questions) <= gain.head_tokens
    assert gain.max_gold_variants == 1


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_changes_one_setting(name: str) -> None:
    preset, base = ABLATION.methods[name].model_dump(), ABLATION.methods[base_of(name)].model_dump()
    assert len(list(differences(preset, base))) == 1


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_trains(taught: Policy, name: str) -> None:
    """One step of the spine: the policy moves, all numbers are finite, and some step was scored."""
    policy = Policy(deepcopy(taught.model), taught.tokenizer, "tiny")
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=1e-2)
    method = method_of_step(ABLATION.methods[name], 0, 2)
    questions = list(batches.QUESTIONS.values())
    shelf = scripted.Shelf(**batches.PASSAGES)
    figures = train_step(policy, taught.model, optimizer, shelf, questions, SMALL, method, (1, "train", 0))
    after = torch.cat([parameter.detach().flatten() for parameter in policy.model.parameters()])
    before = torch.cat([parameter.detach().flatten() for parameter in taught.model.parameters()])
    assert torch.isfinite(after).all()
    assert not torch.equal(before, after)
    assert figures["ig/steps"] > 0


def advantages(policy: Policy, episodes: list[Episode], method: CreditConfig, start: Policy) -> torch.Tensor:
    rewards = [episode_reward(method.reward, episode) for episode in episodes]
    measured = measure(policy, episodes, method, KEY, rewards, "<answer>", start=start)
    return credit.resolve(method.rule)(controlled(credit_batch(episodes, rewards, measured), method, KEY), method)


@pytest.fixture(scope="module")
def sharp() -> Policy:
    """Its logits are so far apart that gains of both signs leave the dead zone."""
    policy = batches.sharpen(scripted.tiny_policy())
    policy.model.model.norm.weight.data.mul_(8)
    return policy


@pytest.fixture(scope="module")
def start() -> Policy:
    return batches.sharpen(scripted.tiny_policy(), seed=4)


def played(policy: Policy) -> list[Episode]:
    """The scripted episodes, before their gold answers one that is longer than the head."""
    episodes = batches.episodes(policy)
    for episode in episodes:
        golds = ("meldon the karvik in torras .", *episode.question.answers)
        episode.question = replace(episode.question, answers=golds)
    return episodes


SAME = {  # what the eight scripted episodes and the first step of a run cannot show
    "ig_search_no_bound": "no gain is beyond the bound",
    "ig_search_shared_decay": "alpha is whole at the first step",
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_credits_otherwise_than_its_base(sharp: Policy, start: Policy, name: str) -> None:
    episodes = played(sharp)
    preset = advantages(sharp, episodes, method_of_step(ABLATION.methods[name], 0, 2), start)
    base = advantages(sharp, episodes, ABLATION.methods[base_of(name)], start)
    assert torch.equal(preset, base) == (name in SAME)


@pytest.mark.parametrize("name", PRESETS)
def test_alpha_zero_makes_every_preset_grpo(sharp: Policy, start: Policy, name: str) -> None:
    episodes = played(sharp)
    silent = ABLATION.methods[name].model_copy(update={"alpha": 0.0})
    assert torch.equal(advantages(sharp, episodes, silent, start), advantages(sharp, episodes, METHODS["grpo"], start))


def test_a_start_policy_that_has_not_moved_scores_as_the_policy_does(sharp: Policy) -> None:
    episodes = played(sharp)
    frozen = ABLATION.methods["ig_search_shared_start_scorer"]
    assert torch.equal(
        advantages(sharp, episodes, frozen, sharp), advantages(sharp, episodes, METHODS["ig_search_shared"], sharp)
    )


def test_alpha_falls_linearly_to_zero() -> None:
    method = ABLATION.methods["ig_search_shared_decay"]
    assert [method_of_step(method, step, 4).alpha for step in range(4)] == [0.5, 0.375, 0.25, 0.125]
    assert method_of_step(METHODS["ig_search"], 3, 4) is METHODS["ig_search"]
