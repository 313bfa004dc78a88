"""The variants of information gain: what each puts in place of the real context, spelled out."""

import copy
import statistics
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from spies import SpyScorer

from igsearch.credit import ig_search
from igsearch.methods import METHODS, CreditConfig, InformationGainConfig
from igsearch.policy.base import Policy
from igsearch.records import Episode
from igsearch.rewards import information_gain as ig
from igsearch.rewards import signals
from igsearch.training.batch import credit_batch

KEY = (7, "train", 3)
PLAIN = InformationGainConfig()
Gains = list[list[ig.StepGain | None]]


def config(**changes: object) -> InformationGainConfig:
    return InformationGainConfig.model_validate(changes)


def tails(texts: list[str], question: str) -> list[str]:
    return [text.split(question)[-1] for text in texts]


THOUGHT = "<think>who</think><search>karvik</search>"
FOUND, NOTED = "<documents>karvikwasborninmeldon.</documents>", "<refine>karvikmeldon</refine>"


def asked(policy: Policy, episode: Episode) -> str:
    return "".join(policy.pieces.text(episode.prompt_ids).split())


def test_empty_drops_documents_and_refine_of_the_step(policy: Policy, episodes: list[Episode], spy: SpyScorer) -> None:
    gains = ig.information_gain(policy, episodes[:1], config(counterfactual="empty"), KEY, pool=[], scorer=spy)
    whole = asked(policy, episodes[0])
    assert spy.texts(policy) == [whole + THOUGHT + FOUND + NOTED + "<answer>", whole + THOUGHT + "<answer>"]
    (gain,) = gains[0]
    assert gain is not None
    assert gain.gain == gain.real - gain.random[0]


def test_empty_keeps_the_documents_of_earlier_steps(policy: Policy, episodes: list[Episode], spy: SpyScorer) -> None:
    ig.information_gain(policy, episodes[1:2], config(counterfactual="empty"), KEY, pool=[], scorer=spy)
    before = "<search>torrasby</search><documents>torraswasthekardonbybaldon.</documents><search>karvik</search>"
    assert asked(policy, episodes[1]) + before + "<answer>" in spy.texts(policy)


def test_none_is_the_absolute_log_probability(policy: Policy, episodes: list[Episode], spy: SpyScorer) -> None:
    gains = ig.information_gain(policy, episodes, config(counterfactual="none"), KEY, pool=[], scorer=spy)
    plain = ig.information_gain(policy, episodes, PLAIN, KEY)
    for absolute, relative in zip(gains, plain, strict=True):
        for gain, other in zip(absolute, relative, strict=True):
            assert (gain is None) == (other is None)
            if gain and other:
                assert gain.gain == pytest.approx(other.real, abs=1e-5)
    figures = ig.diagnostics(episodes, gains)
    assert "ig/random" not in figures
    assert figures["ig/mean"] == figures["ig/real"]


def test_without_refine_it_is_missing_on_both_sides(policy: Policy, episodes: list[Episode], spy: SpyScorer) -> None:
    alone = config(refine=False, draws=1)
    pool = [pair for pair in ig.pool_of(policy, episodes, alone) if (pair.uid, pair.rollout) == ("musique/failed", 2)]
    ig.information_gain(policy, episodes[:1], alone, KEY, pool=pool, scorer=spy)
    whole = asked(policy, episodes[0])
    assert spy.texts(policy) == [
        whole + THOUGHT + FOUND + "<answer>",
        whole + THOUGHT + "<documents>whereismelvik.</documents><answer>",
    ]


def test_the_refine_of_earlier_steps_stays(policy: Policy, episodes: list[Episode], spy: SpyScorer) -> None:
    ig.information_gain(policy, episodes[3:4], config(refine=False, counterfactual="none"), KEY, pool=[], scorer=spy)
    assert "<refine>baldon</refine>" not in spy.texts(policy)[0]
    assert "<refine>baldon</refine>" in spy.texts(policy)[1]


def pairs(*places: tuple[str, int, int]) -> list[ig.Pair]:
    return [ig.Pair(uid, rollout, step, (n % 3,), ()) for n, (uid, rollout, step) in enumerate(places)]


def test_siblings_are_all_steps_of_the_groups_other_rollouts_equal_ones_too() -> None:
    pool = pairs(("a", 0, 0), ("a", 0, 1), ("a", 1, 0), ("a", 2, 0), ("a", 2, 1), ("b", 0, 0))
    sibling = config(pool_scope="sibling", draws=1)
    drawn = {pair for n in range(60) for pair in ig.draw(pool, pool[0], sibling, (n,))}
    assert drawn == {pair for pair in pool if pair.uid == "a" and pair.rollout}
    assert any(pair.content == pool[0].content for pair in drawn)


def test_without_siblings_a_step_is_not_scored(policy: Policy, episodes: list[Episode]) -> None:
    gains = ig.information_gain(policy, [episodes[0], episodes[3]], config(pool_scope="sibling"), KEY)
    assert gains == [[None], [None, None]]
    assert len(ig.draw(pairs(("a", 0, 0), ("a", 1, 0)), pairs(("a", 0, 0))[0], config(pool_scope="sibling"), KEY)) == 3


def test_draws_that_a_group_shares_come_from_other_questions() -> None:
    for scope in ("sibling", "other_pair"):
        with pytest.raises(ValidationError, match=f"come from other questions, not from {scope}"):
            config(share_draws=True, pool_scope=scope)


def test_all_aliases_are_tried_where_their_number_is_none(policy: Policy, episodes: list[Episode]) -> None:
    every, two = config(max_gold_variants=None), config(max_gold_variants=2)
    assert len(episodes[0].question.answers) == 2
    assert ig.information_gain(policy, episodes, every, KEY) == ig.information_gain(policy, episodes, two, KEY)


def test_more_draws_share_the_real_context_and_average_more_pairs(policy: Policy, episodes: list[Episode]) -> None:
    one, five = (ig.information_gain(policy, episodes, config(draws=n), KEY) for n in (1, 5))
    for row, other in zip(one, five, strict=True):
        for gain, averaged in zip(row, other, strict=True):
            assert (gain is None) == (averaged is None)
            if gain and averaged:
                assert gain.real == pytest.approx(averaged.real, abs=1e-5)
                assert (len(gain.random), len(averaged.random)) == (1, 5)


def method(**changes: object) -> CreditConfig:
    return METHODS["ig_search"].model_copy(update={"information_gain": config(**changes)})


def test_the_start_policy_scores_where_it_is_the_scorer(
    policy: Policy, policies: dict[str, Policy], episodes: list[Episode]
) -> None:
    start = Policy(copy.deepcopy(policy.model), policy.tokenizer, "start")
    with_noise = next(iter(start.model.parameters()))
    with_noise.data.mul_(1.5)
    frozen = method(scorer="start")
    got = signals.measure(policy, episodes, frozen, KEY, [0.0] * 8, "<answer>", start=start)
    expected = signals.measure(start, episodes, method(), KEY, [0.0] * 8, "<answer>")
    own = signals.measure(policy, episodes, method(), KEY, [0.0] * 8, "<answer>", start=start)
    assert got == expected != own
    with pytest.raises(ValueError, match="needs the start policy"):
        signals.measure(policy, episodes, frozen, KEY, [0.0] * 8, "<answer>")


def test_drawing_stops_once_the_standard_error_of_the_mean_is_small_enough(
    policy: Policy, episodes: list[Episode]
) -> None:
    """The draws that are made are the first of those that would be made otherwise."""
    pool = ig.pool_of(policy, episodes, PLAIN)
    every = ig.information_gain(policy, episodes, config(draws=9), KEY, pool=pool)
    errors = [standard_error(gain.random[:2]) for row in every for gain in row if gain]
    wanted = sorted(errors)[len(errors) // 2]  # so that some stop after the first look, and others do not
    some = ig.information_gain(policy, episodes, config(draws=9, standard_error=wanted), KEY, pool=pool)
    made = set()
    for row, whole in zip(some, every, strict=True):
        for gain, full in zip(row, whole, strict=True):
            assert (gain is None) == (full is None)
            if gain is None or full is None:
                continue
            count = len(gain.random)
            assert gain.random == pytest.approx(full.random[:count], abs=1e-5)
            assert gain.gain == pytest.approx(full.real - sum(full.random[:count]) / count, abs=1e-5)
            looks = [n for n in (2, 4, 8) if standard_error(full.random[:n]) <= wanted * (1 + 1e-6)]
            assert count == min([*looks, 9])
            made.add(count)
    assert 2 in made
    assert max(made) > 2
    assert ig.diagnostics(episodes, some)["ig/draws"] < 9


def standard_error(values: Sequence[float]) -> float:
    return statistics.stdev(values) / len(values) ** 0.5


def test_what_a_novelty_gate_ignores_is_not_measured_and_the_credit_is_the_same(
    policy: Policy, episodes: list[Episode], spy: SpyScorer
) -> None:
    method = METHODS["ig_search_shared"]
    rewards = [0.0] * len(episodes)
    repeated = [step for episode in episodes for step in episode.steps if step.new_passages == 0]
    assert repeated
    measured = signals.measure(policy, episodes, method, KEY, rewards, "", scorer=spy)
    assert method.information_gain
    gains = ig.information_gain(policy, episodes, method.information_gain, KEY, rewards)
    assert len(spy.rows) < 2 * sum(gain is not None for row in gains for gain in row)
    everything = [replace(each, gains=tuple(row)) for each, row in zip(measured, gains, strict=True)]
    mine, theirs = (
        ig_search.advantages(credit_batch(episodes, rewards, each), method) for each in (measured, everything)
    )
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)
    assert mine.any()
    figures = ig.diagnostics(episodes, [each.gains for each in measured])
    assert figures["ig/unmeasured"] == sum(
        gain is not None and step.new_passages == 0
        for episode, row in zip(episodes, gains, strict=True)
        for step, gain in zip(episode.steps, row, strict=True)
    )
    assert "ig_no_new_passage/mean" not in figures
