"""The variants of information gain: what each puts in place of the real context, spelled out."""

import copy

import pytest
from pydantic import ValidationError

from igsearch.methods import METHODS, CreditConfig, InformationGainConfig
from igsearch.policy.base import Policy
from igsearch.records import Episode
from igsearch.rewards import information_gain as ig
from igsearch.rewards import likelihood, signals

KEY = (7, "train", 3)
PLAIN = InformationGainConfig()
Gains = list[list[ig.StepGain | None]]


def config(**changes: object) -> InformationGainConfig:
    return InformationGainConfig.model_validate(changes)


@pytest.fixture
def texts(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The contexts that are scored, without white space, in order."""
    seen: list[str] = []
    real = likelihood.score

    def spy(policy: Policy, contexts: list[list[int]], *rest: object) -> object:
        seen.extend("".join(policy.pieces.text(context).split()) for context in contexts)
        return real(policy, contexts, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(likelihood, "score", spy)
    return seen


def tails(texts: list[str], question: str) -> list[str]:
    return [text.split(question)[-1] for text in texts]


THOUGHT = "<think>who</think><search>karvik</search>"
FOUND, NOTED = "<documents>karvikwasborninmeldon.</documents>", "<refine>karvikmeldon</refine>"


def asked(policy: Policy, episode: Episode) -> str:
    return "".join(policy.pieces.text(episode.prompt_ids).split())


def test_empty_drops_documents_and_refine_of_the_step(
    policy: Policy, episodes: list[Episode], texts: list[str]
) -> None:
    gains = ig.information_gain(policy, episodes[:1], config(counterfactual="empty"), KEY, pool=[])
    whole = asked(policy, episodes[0])
    assert texts == [whole + THOUGHT + FOUND + NOTED + "<answer>", whole + THOUGHT + "<answer>"]
    (gain,) = gains[0]
    assert gain is not None
    assert gain.gain == gain.real - gain.random[0]


def test_empty_keeps_the_documents_of_earlier_steps(policy: Policy, episodes: list[Episode], texts: list[str]) -> None:
    ig.information_gain(policy, episodes[1:2], config(counterfactual="empty"), KEY, pool=[])
    before = "<search>torrasby</search><documents>torraswasthekardonbybaldon.</documents><search>karvik</search>"
    assert asked(policy, episodes[1]) + before + "<answer>" in texts


def test_none_is_the_absolute_log_probability(policy: Policy, episodes: list[Episode], texts: list[str]) -> None:
    gains = ig.information_gain(policy, episodes, config(counterfactual="none"), KEY, pool=[])
    plain = ig.information_gain(policy, episodes, PLAIN, KEY)
    for absolute, relative in zip(gains, plain, strict=True):
        assert [gain and gain.gain for gain in absolute] == [gain and gain.real for gain in relative]
    figures = ig.diagnostics(episodes, gains)
    assert "ig/random" not in figures
    assert figures["ig/mean"] == figures["ig/real"]


def test_without_refine_it_is_missing_on_both_sides(policy: Policy, episodes: list[Episode], texts: list[str]) -> None:
    alone = config(refine=False, draws=1)
    pool = [pair for pair in ig.pool_of(policy, episodes, alone) if (pair.uid, pair.rollout) == ("musique/failed", 2)]
    ig.information_gain(policy, episodes[:1], alone, KEY, pool=pool)
    whole = asked(policy, episodes[0])
    assert texts == [
        whole + THOUGHT + FOUND + "<answer>",
        whole + THOUGHT + "<documents>whereismelvik.</documents><answer>",
    ]


def test_the_refine_of_earlier_steps_stays(policy: Policy, episodes: list[Episode], texts: list[str]) -> None:
    ig.information_gain(policy, episodes[3:4], config(refine=False, counterfactual="none"), KEY, pool=[])
    assert "<refine>baldon</refine>" not in texts[0]
    assert "<refine>baldon</refine>" in texts[1]


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
