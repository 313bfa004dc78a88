"""What is kept for looking at is what training credits."""

from collections.abc import Callable
from typing import Any

import batches
import pytest
import scripted
import torch
from training_runs import QUESTIONS, Train, settings

from igsearch.credit.mass import step_mass
from igsearch.policy.base import Policy
from igsearch.rewards import information_gain as ig
from igsearch.training import replay as replaying
from igsearch.training.batch import credit_batch
from igsearch.training.replay import Replayed, episode_of, replay, rows
from igsearch.training.schedule import questions_of_step

REFERENCE = settings().method("ig_search").information_gain


def replayed(policy: Policy, name: str, seed: int = 0, start: Policy | None = None) -> Replayed:
    """The first step of a run, without its update."""
    config = settings().for_method(name)
    questions = questions_of_step(QUESTIONS, seed, 0, config.train.prompts_per_step)
    assert REFERENCE
    return replay(
        policy, start, scripted.Shelf(**batches.PASSAGES), questions, config, config.method(name), REFERENCE, (seed, 0)
    )  # fmt: skip


METHODS = ("ig_search", "ig_search_shared", "ig_search_random", "ig_search_shared_start_scorer", "gigpo", "igpo")


@pytest.mark.parametrize("name", METHODS)
def test_replayed_credit_is_that_of_the_first_training_step(
    name: str, train: Train, fresh: Callable[[], Policy]
) -> None:
    first = train(name).logged[0][1]
    found = replayed(fresh(), name, start=fresh())
    assert found.outcome_BL is not None
    batch = credit_batch(found.episodes, found.rewards)
    mass = step_mass(batch, found.advantage_BL, found.outcome_BL)
    assert mass["credit/step_share"] == pytest.approx(first["credit/step_share"], abs=1e-6)
    assert sum(found.rewards) / len(found.rewards) == pytest.approx(first["reward/mean"])
    if "ig/mean" in first:
        assert ig.diagnostics(found.episodes, found.gains)["ig/mean"] == pytest.approx(first["ig/mean"], abs=1e-5)


def test_the_reference_gain_is_the_same_measurement_for_every_method(fresh: Callable[[], Policy]) -> None:
    plain, shared = replayed(fresh(), "grpo"), replayed(fresh(), "ig_search_shared")
    assert [episode.response_ids for episode in plain.episodes] == [each.response_ids for each in shared.episodes]
    values = [[gain and gain.gain for row in found.reference for gain in row] for found in (plain, shared)]
    assert values[0] == pytest.approx(values[1], abs=1e-6)
    assert any(values[0])
    assert plain.gains == plain.reference  # what GRPO does not credit is shown as it is measured for all
    assert plain.outcome_BL is None or torch.equal(plain.outcome_BL, plain.advantage_BL)


def test_rows_hold_the_text_and_the_rollout_again(fresh: Callable[[], Policy]) -> None:
    policy = fresh()
    found = replayed(policy, "ig_search")
    for row, episode, advantage_L in zip(rows(policy, found), found.episodes, found.advantage_BL, strict=True):
        assert "".join(row["tokens"]) == policy.pieces.text(episode.response_ids)
        length = len(episode.response_ids)
        assert {len(row[name]) for name in ("tokens", "sampled", "logprobs", "advantage")} == {length}
        assert row["advantage"] == pytest.approx(advantage_L[:length].tolist(), abs=1e-6)
        again = episode_of(row)
        for name in ("prompt_ids", "response_ids", "sampled", "spans", "prediction", "end", "rollout"):
            assert getattr(again, name) == getattr(episode, name), name
        assert [(each.query, each.shown_hits, each.new_passages) for each in again.steps] == [
            (each.query, each.shown_hits, each.new_passages) for each in episode.steps
        ]


def test_a_character_cut_in_two_by_the_tokenizer_is_shown_once() -> None:
    class Pieces:
        def bytes(self, token_id: int) -> bytes:
            return ("é".encode() + b"a\xff")[token_id : token_id + 1]

    class Stub:
        pieces = Pieces()

    stub: Any = Stub()
    assert replaying._texts(stub, [0, 1, 2]) == ["", "é", "a"]
    assert replaying._texts(stub, [2, 0]) == ["a", "�"]
