"""Imperfect demonstrations of the search protocol, made from the facts of the training world.

A demonstrator walks the chain of a question: it queries the entity at hand, notes in a refine what the passage says
about it, and takes that for the next entity. It often asks about a wrong entity or relation, mostly in words that the
index does not know, never notices a failure, and sometimes stops early. So formats are sound and queries are bad.

Half of the demonstrations are cut after a random refine or documents block, some right after the question, and
continued with the gold answer. They teach how likely the right answer is in the light of what has been read, which is
what information gain measures; in a pretrained language model that knowledge is there already.

So that one start policy serves every protocol, some demonstrations go on, after a request to reflect, with further
attempts as imperfect as the first, and some stand in the information tags of Search-R1, without a refine.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TypeVar

import numpy as np

from igsearch.benchmarks.world import RELATIONS, Fact, Facts, WorldQuestion
from igsearch.benchmarks.world_lexicon import SUFFIXES, stem_groups
from igsearch.config import Config, RolloutConfig, WarmStartConfig, WorldConfig
from igsearch.errors import UserError
from igsearch.policy.base import Policy
from igsearch.records import Hit, SpanKind
from igsearch.retrieval.base import Retriever
from igsearch.rollout.prompts import prompt_ids, reflection_ids, trusted_ids
from igsearch.rollout.protocol import close_tag, observation, open_tag
from igsearch.seeds import generator

T = TypeVar("T")

AFTER_REFINE = 2 / 3  # of the cuts within steps; the others come right after the documents
AT_QUESTION = -1  # the step of a cut before any search
MOST_ATTEMPTS = 3
REFINING, INFORMATION = "tiny", "tiny_search_r1"  # the two protocols, by the names of their prompt styles


@dataclass(slots=True)
class Step:
    """One search: the entity it asks about, the query, its hits, and what the refine says was found."""

    entity: str
    query: str
    hits: Sequence[Hit] = ()
    found: str = ""


@dataclass(slots=True)
class Demonstration:
    """What the demonstrator does with one question. Where it is cut, the gold answer takes the place of the rest."""

    question: WorldQuestion
    steps: list[Step] = field(default_factory=list)
    cut: "Cut | None" = None

    @property
    def answer(self) -> str:
        """What its searches amount to: the last thing found, or for a comparison whether both are the same."""
        if self.question.kind == "bridge":
            return self.steps[-1].found
        halves = [step.found for step in self.steps[-1 :: -max(1, len(self.question.chain) // 2)]]
        return "yes" if len(halves) > 1 and len(set(halves)) == 1 else "no"


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a demonstration is cut: after the refine of this step, or before it; AT_QUESTION before any step."""

    step: int
    after_refine: bool


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one example shows: a question, played once or several times, in a protocol. Only the first may be cut."""

    attempts: tuple[Demonstration, ...]
    protocol: str = REFINING


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids, and which of them are to be learnt."""

    ids: list[int]
    learnt: list[bool]


class Demonstrator:
    """Plays questions of one world. What it does with one depends on the seed, the question and the number alone."""

    def __init__(self, facts: Facts, config: WarmStartConfig) -> None:
        self._facts = facts
        self._config = config
        self._names = sorted(facts.entities)
        self._stated = {fact.passage: fact for fact in facts.facts}

    def lessons(self, questions: Sequence[tuple[WorldQuestion, int]], retriever: Retriever, k: int) -> list[Lesson]:
        """One lesson per question and number."""
        attempts = [[first] for first in self.play(questions, retriever, k)]
        plans = [self._plan(question, number) for question, number in questions]
        for attempt in range(1, MOST_ATTEMPTS):
            rows = [row for row, (count, _) in enumerate(plans) if count > attempt and not attempts[row][0].cut]
            for row, played in zip(
                rows, self.play([questions[row] for row in rows], retriever, k, attempt), strict=True
            ):
                attempts[row].append(played)
        return [Lesson(tuple(played), protocol) for played, (_, protocol) in zip(attempts, plans, strict=True)]

    def _plan(self, question: WorldQuestion, number: int) -> tuple[int, str]:
        """The number of attempts, if it is not cut, and the protocol."""
        rng = generator(self._config.seed, "protocol", question.benchmark, question.id, number)
        again, several = rng.random() < self._config.reflection, int(rng.integers(2, MOST_ATTEMPTS + 1))
        return several if again else 1, INFORMATION if rng.random() < self._config.information_tags else REFINING

    def play(
        self, questions: Sequence[tuple[WorldQuestion, int]], retriever: Retriever, k: int, attempt: int = 0
    ) -> list[Demonstration]:
        """One demonstration per question and number; all that are at the same hop search together."""
        played = [Demonstration(question) for question, _ in questions]
        chances = [
            generator(self._config.seed, "demonstration", question.benchmark, question.id, number, attempt)
            for question, number in questions
        ]
        live = list(zip(played, chances, strict=True))
        while live:
            for demonstration, rng in live:
                demonstration.steps.append(self._ask(demonstration, rng))
            found = retriever.search([demonstration.steps[-1].query for demonstration, _ in live], k)
            for (demonstration, _), hits in zip(live, found, strict=True):
                self._note(demonstration.steps[-1], hits)
            live = [(demonstration, rng) for demonstration, rng in live if self._goes_on(demonstration, rng)]
        for demonstration, rng in zip(played, chances, strict=True):
            demonstration.cut = self._cut(demonstration, rng) if attempt == 0 else None
        return played

    def _ask(self, demonstration: Demonstration, rng: np.random.Generator) -> Step:
        fact = demonstration.question.chain[len(demonstration.steps)]
        entity = self._entity_at_hand(demonstration, fact)
        if rng.random() >= self._config.right_entity:
            entity = _pick(rng, [name for name in self._names if name != entity])
        return Step(entity, f"{entity} {self._relation_word(demonstration, fact, rng)}")

    def _entity_at_hand(self, demonstration: Demonstration, fact: Fact) -> str:
        """What was found last where the question asks on about that, else the entity that the question names."""
        hop, chain = len(demonstration.steps), demonstration.question.chain
        follows = hop > 0 and chain[hop - 1].object == fact.subject and demonstration.question.kind != "comparison"
        return demonstration.steps[-1].found if follows else fact.subject

    def _relation_word(self, demonstration: Demonstration, fact: Fact, rng: np.random.Generator) -> str:
        """The question's own word, or the one that passages use, of the right relation or of another."""
        right, in_passage = rng.random() < self._config.right_relation, rng.random() < self._config.passage_word
        relation, word = RELATIONS[fact.relation], demonstration.question.words[len(demonstration.steps)]
        if not right:
            relation = _pick(rng, [other for other in RELATIONS.values() if other is not relation])
            word = _pick(rng, relation.words[:2])
        return relation.passage if in_passage else word

    def _note(self, step: Step, hits: Sequence[Hit]) -> None:
        """What the first passage says about the entity asked for; the entity itself where nothing was found."""
        fact = self._stated.get(hits[0].passage.id) if hits else None
        step.hits = hits
        step.found = step.entity if fact is None else fact.object if fact.object != step.entity else fact.subject

    def _goes_on(self, demonstration: Demonstration, rng: np.random.Generator) -> bool:
        return len(demonstration.steps) < demonstration.question.hops and rng.random() >= self._config.early_stop

    def _cut(self, demonstration: Demonstration, rng: np.random.Generator) -> Cut | None:
        if rng.random() >= self._config.forced_answer:
            return None
        within = Cut(int(rng.integers(len(demonstration.steps))), bool(rng.random() < AFTER_REFINE))
        return Cut(AT_QUESTION, True) if rng.random() < self._config.forced_at_question else within


def _pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    return items[int(rng.integers(len(items)))]


class Writer:
    """Turns lessons into token ids, in the layout of a rollout of their protocol. Texts recur: each is encoded once."""

    def __init__(self, policy: Policy, config: RolloutConfig) -> None:
        self._policy = policy
        self._config = {name: config.model_copy(update={"prompt": name}) for name in (REFINING, INFORMATION)}
        self._prompt = cache(lambda text: prompt_ids(policy, text, self._config[REFINING]))
        self._encode = cache(policy.encode)
        self._tags = {
            kind: (trusted_ids(policy, open_tag(kind)), trusted_ids(policy, close_tag(kind))) for kind in SpanKind
        }
        self._reflection = cache(lambda text: reflection_ids(policy, text, self._config[REFINING]))
        self._observed: dict[tuple[str, ...], list[int]] = {}

    def write(self, lesson: Lesson) -> Example:
        """A whole demonstration is learnt wherever the policy writes; of one that is cut, the gold answer alone."""
        first = lesson.attempts[0]
        written = self._whole(lesson) if first.cut is None else self._cut(first, first.cut, lesson.protocol)
        parts = [(self._prompt(first.question.text), False), *written]
        return Example([i for ids, _ in parts for i in ids], [learnt for ids, learnt in parts for _ in ids])

    def _whole(self, lesson: Lesson) -> Iterator[tuple[list[int], bool]]:
        """The parts of all attempts, and whether the policy writes them."""
        for place, attempt in enumerate(lesson.attempts):
            if place:
                yield self._reflection(attempt.question.text), False
            for step in attempt.steps:
                yield from self._step(step, lesson.protocol)
            yield self._block(SpanKind.ANSWER, attempt.answer), True

    def _cut(self, demonstration: Demonstration, cut: Cut, protocol: str) -> Iterator[tuple[list[int], bool]]:
        kept = [part for step in demonstration.steps[: cut.step + 1] for part in self._step(step, protocol)]
        if not cut.after_refine and protocol == REFINING:
            kept.pop()
        yield from ((ids, False) for ids, _ in kept)
        yield self._tags[SpanKind.ANSWER][0], False
        yield self._encode(demonstration.question.answers[0]), True

    def _step(self, step: Step, protocol: str) -> Iterator[tuple[list[int], bool]]:
        """Its search, documents and refine."""
        yield self._block(SpanKind.SEARCH, step.query), True
        yield self._observation(step.hits, protocol), False
        if protocol == REFINING:
            yield self._block(SpanKind.REFINE, step.found), True

    def _block(self, kind: SpanKind, text: str) -> list[int]:
        opening, closing = self._tags[kind]
        return [*opening, *self._encode(text), *closing]

    def _observation(self, hits: Sequence[Hit], protocol: str) -> list[int]:
        key = (protocol, *(hit.passage.id for hit in hits))
        if key not in self._observed:
            self._observed[key] = observation(self._policy, hits, self._config[protocol]).ids
        return self._observed[key]


class Renaming:
    """Gives the entities of one example new names: stems change places within their region, suffixes within their kind.

    What is true of regions and kinds stays true, and BM25 would have found the same. Without it a policy this small
    learns the few hundred names of the training world and their facts by heart, instead of reading and copying.
    """

    def __init__(self, policy: Policy, config: WorldConfig) -> None:
        suffixes = [[f"##{suffix}" for suffix in group] for group in SUFFIXES.values()]
        to_ids = policy.tokenizer.convert_tokens_to_ids
        self._groups = [np.array(to_ids(group)) for group in [*stem_groups(config), *suffixes]]
        self._same = np.arange(len(policy.tokenizer))

    def apply(self, example: Example, rng: np.random.Generator) -> Example:
        """The example under other names."""
        renamed = self._same.copy()
        for group in self._groups:
            renamed[group] = rng.permutation(group)
        return Example(renamed[example.ids].tolist(), example.learnt)


def examples(
    policy: Policy,
    questions: Mapping[str, Sequence[WorldQuestion]],
    facts: Facts,
    retriever: Retriever,
    config: Config,
    count: int,
) -> list[Example]:
    """`count` examples from the questions of the training sets, walking through a new permutation in every epoch.

    Raises UserError where data.train names none of these sets.
    """
    assert config.warm_start is not None
    seed = config.warm_start.seed
    pool = [question for benchmark in config.data.train for question in questions.get(benchmark, ())]
    if not pool:
        named, known = ", ".join(config.data.train) or "nothing", ", ".join(questions)
        raise UserError(f"data.train names no training set of the synthetic world: {named}; it has {known}")
    chosen: list[tuple[WorldQuestion, int]] = []
    for epoch in range(-(-count // len(pool))):
        order = generator(seed, "demonstrations", epoch).permutation(len(pool))
        chosen += [(pool[index], epoch) for index in order]
    lessons = Demonstrator(facts, config.warm_start).lessons(chosen[:count], retriever, config.retrieval.k)
    writer, renaming = Writer(policy, config.rollout), Renaming(policy, config.world)
    return [
        renaming.apply(writer.write(lesson), generator(seed, "names", index)) for index, lesson in enumerate(lessons)
    ]
