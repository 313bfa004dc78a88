"""Metrics against those that another toolkit recorded, and the edges that real data has."""

import json
import math
from pathlib import Path

import pytest

from igsearch.records import EndReason, Episode, Question, Span, SpanKind
from igsearch.rewards import answer

_METRICS = {"em": answer.exact_match, "f1": answer.f1, "cover_em": answer.cover_em}


def test_metrics_agree_with_every_recorded_case(real_data: Path) -> None:
    lines = (real_data / "traces" / "metric_cases.jsonl").read_text(encoding="utf-8").split("\n")
    cases = [json.loads(line) for line in lines if line]
    assert len(cases) == 250
    for case in cases:
        said, gold = case["pred"], case["golden_answers"]
        ours = (answer.exact_match(said, gold), answer.cover_em(said, gold), answer.f1(said, gold))
        assert ours == pytest.approx((case["em"], case["acc"], case["f1"]), abs=1e-12), case
        assert answer.measures(said, gold) == {"em": ours[0], "cover_em": ours[1], "f1": ours[2]}


@pytest.mark.parametrize("said", [None, "", "the", "yes", "no man", "to be or not to be", "Lockheed"])
@pytest.mark.parametrize("gold", [[], [""], ["The"], ["yes", "no"], ["to be", "Lockheed Corporation"]])
def test_measures_at_once_are_those_one_by_one(said: str | None, gold: list[str]) -> None:
    expected = {name: metric(said, gold) for name, metric in _METRICS.items()}
    assert answer.measures(said, gold) == expected


def test_punctuation_is_deleted_not_replaced_by_a_space() -> None:
    assert answer.exact_match("The Eiffel-Tower.", ["eiffeltower"]) == 1
    assert answer.exact_match("The Eiffel-Tower.", ["eiffel tower"]) == 0


@pytest.mark.parametrize("metric", [answer.exact_match, answer.f1, answer.cover_em])
@pytest.mark.parametrize(("said", "gold"), [(None, ["x"]), (None, []), ("x", []), (None, [""]), ("", ["x"])])
def test_no_prediction_and_no_gold_score_zero(metric: object, said: str | None, gold: list[str]) -> None:
    assert metric(said, gold) == 0  # type: ignore[operator]


def test_cover_em_compares_characters_and_an_empty_alias_covers_everything() -> None:
    assert answer.cover_em("a long story", ["tor"]) == 1
    assert answer.cover_em("anything", ["The"]) == 1
    assert answer.exact_match("anything", ["The"]) == 0
    assert answer.exact_match("the the", ["The The"]) == 1


@pytest.mark.parametrize(
    ("said", "gold", "expected"),
    [
        ("yes", ["yes"], 1.0),
        ("yes it is", ["yes"], 0.0),
        ("no", ["no man"], 0.0),
        ("noanswer", ["noanswer"], 1.0),
        ("Lockheed", ["yes", "Lockheed Corporation"], 2 / 3),
        ("to be or not to be", ["to be"], 0.5),
        ("29 May 1932", ["May 29, 1932"], 1.0),
    ],
)
def test_f1_counts_a_bag_of_words_and_lets_verdicts_match_only_themselves(
    said: str, gold: list[str], expected: float
) -> None:
    assert answer.f1(said, gold) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("said", "refines", "expected"),
    [
        ("Paris", [], 1.0),
        ("Paris France", ["nothing"], 2 / 3),
        ("Rome", ["it is", "in Paris, France"], 0.1),
        ("Rome", ["in Lyon"], 0.0),
        (None, ["Paris"], 0.0),
    ],
)
def test_autorefine_staircase(said: str | None, refines: list[str], expected: float) -> None:
    assert answer.autorefine(said, ["Paris"], refines) == pytest.approx(expected)
    assert answer.outcome_reward("autorefine", said, ["Paris"], refines) == pytest.approx(expected)


def test_autorefine_counts_no_alias_that_normalisation_empties() -> None:
    assert answer.autorefine("Rome", ["The", "!"], ["anything"]) == 0


def _episode(end: EndReason) -> Episode:
    refine = Span(SpanKind.REFINE, 0, 1, 0, 1, 0, "so it is Paris")
    question = Question("1", "nq", "where?", ("Paris",))
    return Episode(question, 0, [1], [5], [True], [0.0], [refine], prediction="Rome", end=end)


def test_episode_reward_reads_prediction_and_refines() -> None:
    episode = _episode(EndReason.ANSWERED)
    assert [answer.episode_reward(kind, episode) for kind in ("em", "f1", "autorefine")] == [0, 0, 0.1]


def test_a_failed_retriever_is_no_reward_of_zero() -> None:
    assert math.isnan(answer.episode_reward("em", _episode(EndReason.RETRIEVER_FAILED)))


@pytest.mark.parametrize(
    ("said", "golds", "expected"),
    [
        ("the Eiffel Tower", ("Eiffel tower",), 0.8),  # articles are kept
        ("paris paris paris", ("Paris",), 1.0),  # sets, not bags
        ("Eiffel-Tower.", ("eiffel tower",), 1.0),  # punctuation is read as a space
        ("yes it is", ("yes",), 0.5),  # no rule for verdicts
        ("rome", ("paris", "Rome"), 1.0),
        ("?", ("?",), 0.0),
        (None, ("paris",), 0.0),
        ("paris", (), 0.0),
    ],
)
def test_set_f1_is_that_of_igpo(said: str | None, golds: tuple[str, ...], expected: float) -> None:
    assert answer.set_f1(said, golds) == pytest.approx(expected)
