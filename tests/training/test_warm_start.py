"""The warm start: demonstrations in the layout of a rollout, imperfect as configured, and what they teach."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import scripted
import torch

from igsearch.benchmarks import world
from igsearch.benchmarks.world import World
from igsearch.config import Config, build
from igsearch.errors import UserError
from igsearch.policy import tiny
from igsearch.policy.base import Policy
from igsearch.policy.load import load_policy
from igsearch.records import EndReason, Episode, Hit, Passage
from igsearch.rollout.environment import Loop, rollout
from igsearch.rollout.prompts import prompt_ids
from igsearch.seeds import generator
from igsearch.training.demonstrations import (
    AT_QUESTION,
    INFORMATION,
    REFINING,
    Demonstration,
    Demonstrator,
    Example,
    Lesson,
    Renaming,
    Writer,
    examples,
)
from igsearch.training.warm_start import batch_loss, batches, warm_start

SMALL = {
    "world": {"works": 16, "persons": 24, "cities": 12, "companies": 12, "regions": 4, "train_questions": 40}
    | {"validation_questions": 10, "test_questions": 5},
    "policy": {"hidden": 32, "intermediate": 64},
    "warm_start": {"steps": 150, "batch_size": 16},
}
TAGS = re.compile(r"<[^>]+>")


class Overlap:
    """Ranks passages by how often their title and text hold the words of the query; ties by id."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.words = [(passage, re.findall(r"\w+", f"{passage.title} {passage.text}")) for passage in passages]
        self._ranked = cache(self._rank)

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        return [self._ranked(query)[:k] for query in queries]

    def _rank(self, query: str) -> list[Hit]:
        asked = query.split()
        hits = [Hit(passage, float(sum(words.count(word) for word in asked))) for passage, words in self.words]
        return sorted((hit for hit in hits if hit.score), key=lambda hit: (-hit.score, hit.passage.id))


def config(**warm: float) -> Config:
    return build({**SMALL, "warm_start": {**SMALL["warm_start"], **warm}})


@pytest.fixture(scope="module")
def training() -> World:
    return world.generate(config().world)["train"]


@pytest.fixture(scope="module")
def retriever(training: World) -> Overlap:
    return Overlap(training.passages)


@pytest.fixture(scope="module")
def fresh() -> Policy:
    lexicon = world.lexicon(config().world)
    return tiny.build(lexicon.words, lexicon.stems, lexicon.suffixes, config().policy)


def lessons(training: World, retriever: Overlap, **warm: float) -> list[Lesson]:
    settings = config(**warm).warm_start
    assert settings is not None
    questions = [
        (question, number)
        for name in training.questions
        for question in training.questions[name]
        for number in range(10)
    ]
    return Demonstrator(training.facts, settings).lessons(questions, retriever, 1)


def played(training: World, retriever: Overlap, **warm: float) -> list[Demonstration]:
    return [lesson.attempts[0] for lesson in lessons(training, retriever, **warm)]


def share(values: Sequence[bool]) -> float:
    return sum(values) / len(values)


def test_no_demonstration_holds_a_thought(training: World, retriever: Overlap, fresh: Policy) -> None:
    """So crediting thoughts (the preset ig_search_think) changes nothing there, and the ablation leaves it out."""
    written = examples(fresh, training.questions, training.facts, retriever, config(), 400)
    thought = fresh.tokenizer.convert_tokens_to_ids(["<think>", "</think>"])
    seen = {token for example in written for token in example.ids}
    assert not seen & set(thought)
    assert fresh.tokenizer.unk_token_id not in thought


def test_perfect_demonstrations_follow_the_chain_to_the_gold_answer(training: World, retriever: Overlap) -> None:
    perfect = played(
        training, retriever, right_relation=1, passage_word=1, right_entity=1, early_stop=0, forced_answer=0
    )
    for demonstration in perfect:
        facts = [fact.passage for fact in demonstration.question.chain]
        assert [step.hits[0].passage.id for step in demonstration.steps] == facts
        assert demonstration.answer == demonstration.question.answers[0]
        assert demonstration.cut is None


def test_imperfections_occur_as_often_as_configured(training: World, retriever: Overlap) -> None:
    noise = {"right_relation": 0.6, "passage_word": 0.1, "right_entity": 0.6, "early_stop": 0.2}
    shown = played(training, retriever, **noise, forced_at_question=0)
    first = [(demonstration.question, demonstration.steps[0]) for demonstration in shown]
    words = [(question, step.query.split()[1]) for question, step in first]
    spoken = {relation.passage for relation in world.RELATIONS.values()}
    assert share([step.entity == question.chain[0].subject for question, step in first]) == pytest.approx(0.6, abs=0.05)
    assert share([word in spoken for _, word in words]) == pytest.approx(0.1, abs=0.03)
    right = [word in world.RELATIONS[question.chain[0].relation].words for question, word in words]
    assert share(right) == pytest.approx(0.6, abs=0.05)
    several = [demonstration for demonstration in shown if demonstration.question.hops > 1]
    assert share([len(demonstration.steps) == 1 for demonstration in several]) == pytest.approx(0.2, abs=0.05)
    cuts = [demonstration.cut for demonstration in shown if demonstration.cut]
    assert len(cuts) / len(shown) == pytest.approx(0.5, abs=0.05)
    assert share([cut.after_refine for cut in cuts]) == pytest.approx(2 / 3, abs=0.05)


def test_refines_say_what_the_passage_says(training: World, retriever: Overlap) -> None:
    for demonstration in played(training, retriever):
        for step in demonstration.steps:
            assert step.found in step.hits[0].passage.text
            assert step.found != step.entity


def test_protocols_occur_as_often_as_configured(training: World, retriever: Overlap) -> None:
    shown = lessons(training, retriever, reflection=0.4, information_tags=0.3, forced_at_question=0.2)
    whole = [lesson for lesson in shown if not lesson.attempts[0].cut]
    assert share([lesson.protocol == INFORMATION for lesson in shown]) == pytest.approx(0.3, abs=0.05)
    assert share([len(lesson.attempts) > 1 for lesson in whole]) == pytest.approx(0.4, abs=0.05)
    assert {len(lesson.attempts) for lesson in whole} == {1, 2, 3}
    assert not any(attempt.cut for lesson in shown for attempt in lesson.attempts[1:])
    cuts = [lesson.attempts[0].cut for lesson in shown if lesson.attempts[0].cut]
    assert {len(lesson.attempts) for lesson in shown if lesson.attempts[0].cut} == {1}
    assert share([cut.step == AT_QUESTION for cut in cuts]) == pytest.approx(0.2, abs=0.05)


def test_attempts_are_made_anew_and_change_nothing_in_the_first(training: World, retriever: Overlap) -> None:
    alone = lessons(training, retriever, reflection=0, forced_answer=0)
    several = lessons(training, retriever, reflection=1, forced_answer=0)
    assert [lesson.attempts[0] for lesson in alone] == [lesson.attempts[0] for lesson in several]
    queries = [[attempt.steps[0].query for attempt in lesson.attempts] for lesson in several]
    assert share([first != second for first, second, *_ in queries]) > 0.5


@pytest.mark.parametrize("protocol", [REFINING, INFORMATION])
def test_a_lesson_has_the_layout_of_a_rollout(
    fresh: Policy, training: World, retriever: Overlap, protocol: str
) -> None:
    writer = Writer(fresh, config().rollout)
    for lesson in lessons(training, retriever, forced_answer=0, reflection=0.5)[:40]:
        settings = config().rollout.model_copy(update={"prompt": protocol, "attempts": len(lesson.attempts)})
        example = writer.write(replace(lesson, protocol=protocol))
        question = lesson.attempts[0].question.question()
        episode = Episode(question, 0, prompt_ids(fresh, question.text, settings))
        written = example.ids[len(episode.prompt_ids) :]
        Loop(fresh, scripted.Scripted([turns(fresh, written)]), retriever, [episode], settings, 1, None).run()
        assert episode.end is EndReason.ANSWERED
        if len(lesson.attempts) > 1:
            assert episode.attempts == [attempt.answer for attempt in lesson.attempts]
        assert episode.prompt_ids + episode.response_ids == example.ids
        assert [False] * len(episode.prompt_ids) + episode.sampled == example.learnt


def turns(policy: Policy, written: Sequence[int]) -> list[list[int]]:
    """What the policy wrote, turn by turn: all but documents and the requests to reflect, which end in a question."""
    to_ids = policy.tokenizer.convert_tokens_to_ids
    opening, closing = to_ids(["<documents>", "<information>"]), to_ids(["</documents>", "</information>"])
    found: list[list[int]] = [[]]
    inside = False
    for token in written:
        if token in (*opening, to_ids("<reflect>")):
            inside = True
            found.append([])
        elif not inside:
            found[-1].append(token)
        inside = inside and token not in (*closing, to_ids("?"))
    return found


def test_a_cut_demonstration_teaches_the_gold_answer_alone(fresh: Policy, training: World, retriever: Overlap) -> None:
    writer = Writer(fresh, config().rollout)
    for lesson in lessons(training, retriever, forced_answer=1):
        demonstration = lesson.attempts[0]
        example, cut = writer.write(lesson), demonstration.cut
        assert cut is not None
        gold = fresh.encode(demonstration.question.answers[0])
        assert example.ids[-len(gold) :] == gold
        assert example.learnt == [False] * (len(example.ids) - len(gold)) + [True] * len(gold)
        tags = TAGS.findall(fresh.pieces.text(example.ids))
        whole = ["<search>", "</search>", "<documents>", "</documents>", "<refine>", "</refine>"]
        if lesson.protocol == INFORMATION:
            whole = ["<search>", "</search>", "<information>", "</information>"]
        last = whole if cut.after_refine else whole[:4]
        shown = [] if cut.step == AT_QUESTION else [*whole * cut.step, *last]
        assert tags == [*shown, "<answer>"]


def test_renaming_keeps_regions_kinds_and_words(fresh: Policy) -> None:
    groups = Renaming(fresh, config().world)._groups
    named = sorted(int(i) for group in groups for i in group)
    every = Example(list(range(len(fresh.tokenizer))), [True] * len(fresh.tokenizer))
    renamed = Renaming(fresh, config().world).apply(every, generator("renaming")).ids
    assert [i for i in every.ids if renamed[i] != i] != []
    assert all(renamed[i] == i for i in every.ids if i not in named)
    for group in groups:
        assert sorted(renamed[i] for i in group) == sorted(group)


def test_the_loss_is_the_mean_over_what_the_policy_writes(fresh: Policy, training: World, retriever: Overlap) -> None:
    example = Writer(fresh, config().rollout).write(lessons(training, retriever, forced_answer=0)[0])
    short = Example(example.ids[:-1], example.learnt[:-1])
    with torch.no_grad():
        logits = fresh.model(input_ids=torch.tensor([example.ids])).logits[0].log_softmax(-1)
    expected = [-float(logits[i - 1, token]) for i, token in enumerate(example.ids) if example.learnt[i]]
    assert batch_loss(fresh, [example]).item() == pytest.approx(sum(expected) / len(expected), rel=1e-5)
    both = [*expected, *expected[:-1]]
    assert batch_loss(fresh, [example, short]).item() == pytest.approx(sum(both) / len(both), rel=1e-5)


def test_batches_hold_every_example_once(fresh: Policy, training: World, retriever: Overlap) -> None:
    shown = examples(fresh, training.questions, training.facts, retriever, config(), 90)
    cut = batches(shown, 16, 0)
    assert [len(batch) for batch in cut].count(16) == 5
    assert sorted(e.ids for batch in cut for e in batch) == sorted(e.ids for e in shown)
    assert batches(shown, 16, 0) == cut


def test_training_sets_that_the_world_does_not_have(fresh: Policy, training: World, retriever: Overlap) -> None:
    other = build({**SMALL, "data": {"train": ["popqa"]}})
    with pytest.raises(UserError, match="no training set of the synthetic world: popqa; it has nq, hotpotqa"):
        examples(fresh, training.questions, training.facts, retriever, other, 10)


def test_the_warm_start_teaches_the_format_and_is_deterministic(
    retriever: Overlap, training: World, tmp_path: Path
) -> None:
    losses: list[float] = []
    metrics = warm_start(config(), retriever, tmp_path / "a", lambda step, steps, loss: losses.append(loss))
    assert metrics["loss/last"] < 0.6 * metrics["loss/first"]
    assert len(losses) == 3
    policy = load_policy(config().policy.model_copy(update={"name": str(tmp_path / "a")}))
    asked = [question.question() for question in training.questions["nq"]]
    episodes = rollout(policy, retriever, asked, [0] * len(asked), config().rollout, 1, None)
    assert share([episode.end is EndReason.ANSWERED for episode in episodes]) > 0.9
    short = config(steps=3)
    weights = []
    for name in ("b", "c"):
        warm_start(short, retriever, tmp_path / name)
        weights.append((tmp_path / name / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


@pytest.mark.parametrize("changes", [{"warm_start": None}, {"policy": {"name": "smollm2"}}])
def test_a_warm_start_is_for_the_tiny_policy(changes: dict[str, object], retriever: Overlap, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tiny"):
        warm_start(build(changes), retriever, tmp_path)
