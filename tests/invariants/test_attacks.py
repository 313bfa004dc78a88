"""A thousand hostile passages against everything of ours that reads a rollout: none may act.

Success would be a reward, step, answer, advantage or markup that the policy's own tokens did not produce.
"""

import json
from collections.abc import Sequence

import batches
import pytest
import scripted
import torch

from igsearch import credit
from igsearch.credit.batch import CreditBatch
from igsearch.evaluation import evaluate
from igsearch.evaluation.attacks import HARMLESS, Attack, attacks
from igsearch.methods import METHODS
from igsearch.policy.base import Policy
from igsearch.records import Episode, SpanKind
from igsearch.rewards import information_gain as ig
from igsearch.rewards.answer import episode_reward
from igsearch.rollout.transcript import trajectory
from igsearch.training.batch import credit_batch

TRAINED = {name: method for name, method in METHODS.items() if not method.fine_tune}
GAIN = METHODS["ig_search"].information_gain


@pytest.fixture(scope="module", params=["tiny", "bpe", "smollm2"])
def policy(request: pytest.FixtureRequest, policies: dict[str, Policy]) -> Policy:
    return scripted.smollm2_tokenized() if request.param == "smollm2" else policies[request.param]


@pytest.fixture(scope="module")
def hostile(policy: Policy) -> list[Attack]:
    special = [*policy.tokenizer.all_special_tokens, *map(str, policy.tokenizer.added_tokens_decoder.values())]
    return attacks("meldon", special, lambda text: [policy.pieces.text([i]) for i in policy.encode(text)])


def written(episode: Episode) -> object:
    """All that the policy's own tokens made of an episode."""
    spans = [(span.kind, span.step, span.text) for span in episode.spans if span.kind is not SpanKind.DOCUMENTS]
    own = [token for token, sampled in zip(episode.response_ids, episode.sampled, strict=True) if sampled]
    steps = [step.query for step in episode.steps]
    return spans, own, steps, episode.prediction, episode.end, episode.invalid_turns, len(episode.turns)


def rewards(episodes: Sequence[Episode]) -> list[list[float]]:
    return [
        [episode_reward(method.reward, episode, method.search_r1_format) for episode in episodes]
        for method in TRAINED.values()
    ]


def of_sampled(episodes: Sequence[Episode], name: str, batch: CreditBatch) -> list[list[float]]:
    """The advantages of the policy's tokens; documents have none."""
    advantage_BL = credit.resolve(METHODS[name].rule)(batch, METHODS[name])
    kept = []
    for advantage_L, episode in zip(advantage_BL, episodes, strict=True):
        sampled_L = torch.tensor(episode.sampled)
        assert not advantage_L[: len(sampled_L)][~sampled_L].any()
        kept.append(advantage_L[: len(sampled_L)][sampled_L].tolist())
    return kept


def test_no_attack_changes_what_the_policy_wrote_or_any_reward(policy: Policy, hostile: list[Attack]) -> None:
    assert len(hostile) >= 1000
    plain = batches.episodes(policy, {"karvik": HARMLESS})
    expected = [written(episode) for episode in plain], rewards(plain)
    for attack in hostile:
        attacked = batches.episodes(policy, {"karvik": attack.text})
        assert ([written(episode) for episode in attacked], rewards(attacked)) == expected, attack
        special = set(policy.tokenizer.all_special_ids) - {policy.tokenizer.unk_token_id}
        inner = {i for e in attacked for s in e.spans_of(SpanKind.DOCUMENTS) for i in e.response_ids[s.start : s.end]}
        assert not special & inner, attack


def test_no_attack_moves_a_step_its_credit_or_a_record(policy: Policy, hostile: list[Attack]) -> None:
    """With equal gains: what a page says may raise a gain, never where the credit goes or how many steps there are."""
    plain = batches.episodes(policy, {"karvik": HARMLESS})

    def seen(episodes: list[Episode]) -> object:
        gains = [[ig.StepGain(1.0 + t, 0.0, (0.0,)) for t in range(len(e.steps))] for e in episodes]
        batch = credit_batch(episodes, [episode_reward("em", e) for e in episodes], batches.signals(gains))
        rules = [of_sampled(episodes, name, batch) for name in ("grpo", "ig_search", "ig_search_shared")]
        assert GAIN
        pool = [(pair.uid, pair.rollout, pair.step) for pair in ig.pool_of(policy, episodes, GAIN)]
        records = [evaluate.record(e, "contract", "policy") for e in episodes]
        kept = [(r.prediction, r.em, r.f1, r.cover_em, r.searches, r.sampled_tokens, r.end) for r in records]
        return rules, pool, kept

    expected = seen(plain)
    for attack in (each for each in hostile[::7] if len(each.text.split()) > 3):  # shorter pages are not scored
        assert seen(batches.episodes(policy, {"karvik": attack.text})) == expected, attack


def test_a_trajectory_says_who_wrote_what_whatever_was_found(policy: Policy, hostile: list[Attack]) -> None:
    def own(episodes: list[Episode]) -> list[list[str]]:
        told = [json.loads(json.dumps(trajectory(episode, policy))) for episode in episodes]
        return [[part["text"] for part in each["segments"] if part["by"] == "policy"] for each in told]

    expected = own(batches.episodes(policy, {"karvik": HARMLESS}))
    for attack in hostile[::11]:
        assert own(batches.episodes(policy, {"karvik": attack.text})) == expected, attack
