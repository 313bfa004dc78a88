"""StepSearch's step reward: gain over what was found before, less repetition, against gold paragraphs."""

from dataclasses import replace

import pytest
import scripted
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from igsearch.methods import METHODS
from igsearch.policy.base import Policy
from igsearch.records import Episode
from igsearch.rewards.signals import measure
from igsearch.rewards.stepsearch import gains, repetitions, similarities, stepsearch

FIRST, SECOND = "karvik was born in meldon", "torras wrote melvik"
GOLD = (FIRST, SECOND)
PARAGRAPHS = {"gold_paragraphs": [{"title": "karvik", "text": FIRST}, {"title": "torras", "text": SECOND}]}
SHELF = {"karvik": FIRST, "torras": SECOND, "melras": "nothing of use"}


def test_cosine_is_that_of_tf_idf_over_passage_and_gold_paragraphs() -> None:
    passage = "the karvik wrote to meldon"
    rows = TfidfVectorizer().fit_transform(["karvik wrote to meldon", *GOLD])
    assert similarities(passage, GOLD) == pytest.approx(cosine_similarity(rows[0], rows[1:])[0].tolist())


def test_cosine_of_equal_texts_is_1_and_of_disjoint_or_empty_ones_0() -> None:
    assert similarities(FIRST, GOLD) == pytest.approx((1.0, 0.0))
    assert similarities("nothing", GOLD) == (0.0, 0.0)
    assert similarities("", GOLD) == (0.0, 0.0)
    assert similarities("a b", ("c", "?")) == (0.0, 0.0)


def test_gain_is_what_a_search_adds_to_the_best_so_far() -> None:
    assert gains([[FIRST], [FIRST], [SECOND]], GOLD) == pytest.approx([0.5, 0, 0.5])
    assert gains([[FIRST, SECOND], ["nothing"]], GOLD) == pytest.approx([1, 0])
    assert gains([[], [FIRST]], GOLD) == pytest.approx([0, 0.5])


def test_a_worse_match_takes_nothing_away_and_a_better_one_adds_the_difference() -> None:
    half = similarities("karvik", GOLD)[0]
    assert 0 < half < 1
    assert gains([["karvik"], [FIRST], ["karvik"]], GOLD) == pytest.approx([half / 2, (1 - half) / 2, 0])


def test_repetition_is_the_share_of_passages_shown_before() -> None:
    assert repetitions([["a", "b"], ["b", "c"], ["a", "b"], []]) == [0, 0.5, 1, 0]
    assert repetitions([["a", "a"]]) == [0.5]


@pytest.fixture
def episode(policy: Policy) -> Episode:
    turns = ["<search> karvik </search>", "<search> the karvik </search>", "<search> melras </search>"]
    played = scripted.play(policy, [[*turns, "<answer> meldon </answer>"]], scripted.Shelf(**SHELF), max_searches=4)
    return played[0]


def test_step_reward_is_gain_less_repetition(episode: Episode) -> None:
    episode.question = replace(episode.question, metadata=PARAGRAPHS)
    assert stepsearch(episode) == pytest.approx([0.5, -1.0, 0.0])


def test_without_gold_paragraphs_there_is_no_step_reward(policy: Policy, episode: Episode) -> None:
    assert stepsearch(episode) == [None] * 3
    [signals] = measure(policy, [episode], METHODS["stepsearch_reward"], (0, 0), [1.0], "<answer>")
    assert signals.rewards == (None,) * 3
