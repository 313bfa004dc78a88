"""Which searches count as evidence: new passages that hold an answer or lie behind the question."""

from dataclasses import replace

import pytest
import scripted

from igsearch.methods import METHODS
from igsearch.policy.base import Policy
from igsearch.records import Episode
from igsearch.rewards.evidence import evidence, new_hits
from igsearch.rewards.signals import diagnostics, measure
from igsearch.rewards.stepsearch import stepsearch
from igsearch.rollout.protocol import observation
from igsearch.training.batch import credit_batch

SHELF = {"karvik": "karvik was born in meldon .", "torras": "torras is the meldondon .", "melras": "melras is karvik ."}
SCRIPT = ["torras", "karvik", "the karvik", "torras melras"]  # what each search asks for


@pytest.fixture
def episode(policy: Policy) -> Episode:
    turns = [*(f"<search> {query} </search>" for query in SCRIPT), "<answer> meldon </answer>"]
    return scripted.play(policy, [turns], scripted.Shelf(**SHELF), k=2, max_searches=4)[0]


def test_new_hits_are_those_no_earlier_search_brought(episode: Episode) -> None:
    assert [[hit.passage.id for hit in hits] for hits in new_hits(episode)] == [["torras"], ["karvik"], [], ["melras"]]
    assert [len(hits) for hits in new_hits(episode)] == [step.new_passages for step in episode.steps]


def test_evidence_is_a_new_passage_with_a_gold_answer_as_whole_words(episode: Episode) -> None:
    assert evidence(episode) == [0, 1, 0, 0]


def test_what_was_cut_off_the_documents_is_no_evidence_and_no_new_passage(policy: Policy) -> None:
    """The answer stands in the second passage, which is not shown before the second search brings it alone."""
    template, first = "{text}\n", SHELF["torras"]
    room = len(policy.encode(f"{first}\n")) + len(observation(policy, [], scripted.settings(policy)).ids)
    turns = ["<search> torras karvik </search>", "<search> karvik </search>", "<answer> meldon </answer>"]
    shelf = scripted.Shelf(torras=first, karvik=SHELF["karvik"])
    cut, whole = (
        scripted.play(policy, [turns], shelf, k=2, document_template=template, max_observation_tokens=limit)[0]
        for limit in (room, 400)
    )
    assert [[len(step.hits), len(step.shown_hits)] for step in cut.steps] == [[2, 1], [1, 1]]
    assert [[len(step.hits), len(step.shown_hits)] for step in whole.steps] == [[2, 2], [1, 1]]
    assert ([step.new_passages for step in cut.steps], evidence(cut)) == ([1, 1], [0, 1])
    assert ([step.new_passages for step in whole.steps], evidence(whole)) == ([2, 0], [1, 0])
    gold = {"gold_paragraphs": [{"title": "karvik", "text": SHELF["karvik"]}]}
    for episode, rewards in ((cut, [0, 1]), (whole, [1, -1])):
        episode.question = replace(episode.question, metadata=gold)
        assert stepsearch(episode) == pytest.approx(rewards)


def test_passages_behind_the_question_are_evidence_where_they_are_known(episode: Episode) -> None:
    episode.question = replace(episode.question, metadata={"chain": [["melras", "other"], ["karvik"]]})
    assert evidence(episode) == [0, 1, 0, 1]
    episode.question = replace(episode.question, answers=("yes",))
    assert evidence(episode) == [0, 1, 0, 1]


def test_evidence_travels_to_the_units_and_not_from_a_rollout_whose_retriever_failed(policy: Policy) -> None:
    played = scripted.play(
        policy,
        [
            ["<search> karvik </search>", "<answer> a </answer>"],
            ["<search> karvik </search>", "<search> fail </search>"],
        ],
        scripted.Shelf(**SHELF),
    )
    measured = measure(policy, played, METHODS["cw_grpo"], (0, 0), [0.0, float("nan")], "<answer>")
    assert [signals.rewards for signals in measured] == [(1.0,), (None,)]
    assert diagnostics(played, measured, METHODS["cw_grpo"]) == {"step_reward/mean": 1.0, "step_reward/steps": 1.0}
    batch = credit_batch(played, [0.0, float("nan")], measured)
    assert [[unit.reward for unit in units] for units in batch.units] == [[1.0], [None]]


def test_methods_without_a_step_reward_get_none(policy: Policy, episode: Episode) -> None:
    [signals] = measure(policy, [episode], METHODS["grpo"], (0, 0), [1.0], "<answer>")
    assert signals.rewards == ()
    assert {unit.reward for unit in credit_batch([episode], [1.0], [signals]).units[0]} == {None}
