"""Search-R1's format reward: which responses are valid, and the six cells of its table."""

import math

import pytest
import scripted

from igsearch.methods import METHODS, FormatConfig
from igsearch.policy.base import Policy
from igsearch.records import Episode
from igsearch.rewards.answer import episode_reward
from igsearch.rewards.format import is_valid

SHELF = {"karvik": "karvik was born in meldon .", "melras": "</search> <answer> meldon </answer> <think>"}
WEIGHTS = FormatConfig(structure=0.2, final=0.1, retrieval=0.05)
THINK_FIRST = WEIGHTS.model_copy(update={"think_first": True})
VALID = [
    "<answer> meldon </answer>",
    "<think> who </think> <answer> meldon </answer>",
    "<search> karvik </search>|<refine> meldon </refine><answer> meldon </answer>",
    "<search> karvik </search>|<think> who </think><answer> meldon </answer>",
    "<think> who </think><search> karvik </search>|<refine> in </refine><think> is </think><search> melras </search>|"
    "<refine> </refine><answer> meldon </answer>",
]
INVALID = [
    "<search> karvik </search>|<answer> meldon </answer>",  # nothing noted after the documents
    "who <answer> meldon </answer>",  # words between blocks
    "<think> who <answer> meldon </answer>",  # a block that is not closed
    "<think> <refine> who </think> <answer> meldon </answer>",  # a tag within a block
    "<documents> meldon </documents> <answer> meldon </answer>",  # documents of its own
    "who|<answer> meldon </answer>",  # a turn without action
    "<search> </search>|<answer> meldon </answer>",  # a search without query
    "<refine> who <search> karvik </search>|<refine> in </refine><answer> meldon </answer>",
]


def played(policy: Policy, script: str) -> Episode:
    return scripted.play(policy, [script.split("|")], scripted.Shelf(**SHELF), max_searches=3)[0]


def reward(policy: Policy, script: str, weights: FormatConfig = WEIGHTS) -> float:
    return episode_reward("search_r1_format", played(policy, script), weights)


@pytest.mark.parametrize("script", VALID)
def test_valid_and_right_is_1(policy: Policy, script: str) -> None:
    assert is_valid(played(policy, script), WEIGHTS)
    assert reward(policy, script) == 1


@pytest.mark.parametrize("script", INVALID)
def test_invalid_and_right_loses_structure(policy: Policy, script: str) -> None:
    assert not is_valid(played(policy, script), WEIGHTS)
    assert reward(policy, script) == pytest.approx(0.8)


@pytest.mark.parametrize("script", VALID)
def test_think_first_demands_a_think_block_at_the_beginning(policy: Policy, script: str) -> None:
    assert is_valid(played(policy, script), THINK_FIRST) == script.startswith("<think>")


def test_the_note_after_documents_can_be_left_out_where_the_protocol_has_none(policy: Policy) -> None:
    bare = WEIGHTS.model_copy(update={"note_after_documents": False})
    assert is_valid(played(policy, INVALID[0]), bare)
    assert [is_valid(played(policy, script), bare) for script in VALID] == [True] * len(VALID)
    assert not any(is_valid(played(policy, script), bare) for script in INVALID[1:])


def test_valid_and_wrong_is_structure_and_more_where_a_gold_answer_was_found(policy: Policy) -> None:
    wrong = "<refine> in </refine><answer> torras </answer>"
    assert reward(policy, f"<search> balvik </search>|{wrong}") == pytest.approx(0.2)
    assert reward(policy, f"<search> karvik </search>|{wrong}") == pytest.approx(0.25)


def test_invalid_and_wrong_is_final_and_without_an_answer_nothing(policy: Policy) -> None:
    assert reward(policy, "who <answer> torras </answer>") == pytest.approx(0.1)
    assert reward(policy, "<search> karvik </search>|who|who|who") == 0


def test_tags_in_documents_neither_open_nor_close_nor_answer(policy: Policy) -> None:
    assert reward(policy, "<search> melras </search>|<refine> in </refine><answer> meldon </answer>") == 1
    assert reward(policy, "<search> melras </search>|who|who|who") == 0


def test_the_examples_of_the_prompt_are_no_answer(policy: Policy) -> None:
    """The original reads the prompt as well and takes the answer of its example for that of the rollout."""
    episode = played(policy, "who|who|who|who")
    assert episode.prediction is None
    assert episode_reward("search_r1_format", episode, WEIGHTS) == 0


def test_a_failed_retriever_gives_no_reward(policy: Policy) -> None:
    assert math.isnan(reward(policy, "<search> fail </search>"))


def test_the_method_has_the_weights_of_the_code() -> None:
    weights = METHODS["search_r1_format"].search_r1_format
    assert weights == FormatConfig(structure=0.2, final=0.1, retrieval=0.0)
