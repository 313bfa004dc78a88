"""Questions over the facts of one split, in the character of each of the seven benchmarks.

Single hops (NQ, TriviaQA with aliases, PopQA with popularity), bridges of two hops and a minority of comparisons
(HotpotQA, 2WikiMultihopQA, which also compares over bridges), two to four hops (MuSiQue), and two hops asked in
synonyms whose last fact leaves its region, so that guessing from the bridge misleads (Bamboogle).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from igsearch.benchmarks.world_facts import Fact, Facts
from igsearch.benchmarks.world_lexicon import RELATIONS
from igsearch.config import WorldConfig
from igsearch.errors import UserError
from igsearch.records import BENCHMARKS, Question
from igsearch.seeds import generator

BAMBOOGLE_QUESTIONS = 125
SETS: Mapping[str, tuple[str, ...]] = {
    "train": ("nq", "hotpotqa", "musique"),
    "validation": ("nq", "triviaqa", "hotpotqa", "2wikimultihopqa", "musique"),
    "test": BENCHMARKS,
}
_WITH_ALIASES = ("triviaqa", "popqa", "musique")  # the formats of the others have one answer, or (NQ) few aliases
_ASK = {"person": "who", "city": "which city", "company": "which company"}
_TRIES = 50  # per question; the fullest set, 2,000 of 2,160 single hops, takes about three

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WorldQuestion:
    """A question with the facts behind it.

    kind: `bridge` (a chain of any length, each object being the next subject), `comparison` (two independent facts) or
    `bridge_comparison` (two chains of two, one after the other); the last two are answered yes or no. words: the word
    that the question uses for the relation of each fact.
    """

    benchmark: str
    id: str
    text: str
    answers: tuple[str, ...]
    kind: str
    chain: tuple[Fact, ...]
    words: tuple[str, ...]

    @property
    def hops(self) -> int:
        """How many facts it takes."""
        return len(self.chain)

    def chain_ids(self) -> list[list[str]]:
        """Per hop the ids of the passages any of which brings it forward.

        One for a bridge. The two sides of a comparison can be looked up in any order, so each hop lists both.
        """
        length = len(self.chain) if self.kind == "bridge" else len(self.chain) // 2
        return [[fact.passage for fact in self.chain[hop % length :: length]] for hop in range(len(self.chain))]

    def question(self) -> Question:
        """The same as a plain Question."""
        metadata: dict[str, Any] = {"chain": self.chain_ids(), "type": self.kind}
        return Question(self.id, self.benchmark, self.text, self.answers, self.hops, metadata)


@dataclass(frozen=True, slots=True)
class _Draft:
    text: str
    answers: tuple[str, ...]
    kind: str
    chain: tuple[Fact, ...]
    words: tuple[str, ...]


class _Asker:
    """Draws questions about one split's facts; a draw is None where chance led nowhere."""

    def __init__(self, facts: Facts, rng: np.random.Generator) -> None:
        self.facts = facts
        self.rng = rng

    def pick(self, items: Sequence[T]) -> T:
        return items[int(self.rng.integers(len(items)))]

    def word(self, fact: Fact) -> str:
        """Its question word or its synonym."""
        return self.pick(RELATIONS[fact.relation].words[:2])

    def path(self, hops: int) -> tuple[Fact, ...] | None:
        """A chain of facts that meets no entity twice."""
        chain = [self.pick(self.facts.facts)]
        while len(chain) < hops:
            chain.append(self.pick([*self.facts.of_subject[chain[-1].object].values()]))
        met = {chain[0].subject, *(fact.object for fact in chain)}
        return tuple(chain) if len(met) == hops + 1 else None

    def bridge(self, hops: int, end: str = "?", ask: str | None = None) -> _Draft | None:
        """`who is the mentor of the author of karvik?`"""
        chain = self.path(hops)
        return self._bridge(chain, tuple(map(self.word, chain)), end, ask) if chain else None

    def hard(self) -> _Draft | None:
        """Two hops in synonyms, the second of which leaves the region of the bridge."""
        chain = self.path(2)
        if chain is None or not self.facts.leaves_region(chain[-1]):
            return None
        return self._bridge(chain, tuple(RELATIONS[fact.relation].synonym for fact in chain), "?", None)

    def _bridge(self, chain: tuple[Fact, ...], words: tuple[str, ...], end: str, ask: str | None) -> _Draft:
        answer = self.facts.entities[chain[-1].object]
        nouns = " of ".join(f"the {word}" for word in reversed(words))
        opening = ask.format(kind=answer.kind) if ask else _ASK[answer.kind]
        return _Draft(f"{opening} is {nouns} of {chain[0].subject}{end}", answer.aliases, "bridge", chain, words)

    def _counterpart(self, fact: Fact, same: bool) -> Fact | None:
        """Another fact of the relation whose object is the same, or is not."""
        if same:
            found = [other for other in self.facts.of_object[fact.relation, fact.object] if other is not fact]
        else:
            found = [other for other in self.facts.of_relation[fact.relation] if other.object != fact.object]
        return self.pick(found) if found else None

    def comparison(self, same: bool) -> _Draft | None:
        """`do karvik and dalmon have the same mentor?`"""
        first = self.pick(self.facts.facts)
        second = self._counterpart(first, same)
        if second is None:
            return None
        word = self.word(first)
        text = f"do {first.subject} and {second.subject} have the same {word}?"
        return _Draft(text, (_yes(same),), "comparison", (first, second), (word, word))

    def bridge_comparison(self, same: bool) -> _Draft | None:
        """`do the author of A and the author of B have the same mentor?`, the two authors being different."""
        chain = self.path(2)
        end = chain and self._counterpart(chain[1], same)
        starts = self.facts.of_object.get((chain[0].relation, end.subject)) if chain and end else None
        if not (chain and end and starts):
            return None
        start = self.pick(starts)
        inner, outer = self.word(chain[0]), self.word(end)
        text = f"do the {inner} of {chain[0].subject} and the {inner} of {start.subject} have the same {outer}?"
        return _Draft(text, (_yes(same),), "bridge_comparison", (*chain, start, end), (inner, outer) * 2)


def _yes(same: bool) -> str:
    return "yes" if same else "no"


def _hotpotqa(ask: _Asker, i: int) -> _Draft | None:
    """One comparison in five; yes and no alternate."""
    return ask.comparison(i % 2 == 0) if i % 5 == 4 else ask.bridge(2, ask="which {kind}")


def _two_wiki(ask: _Asker, i: int) -> _Draft | None:
    """Of twenty: thirteen compositions, five comparisons, two comparisons over bridges."""
    if i % 20 in (9, 19):
        return ask.bridge_comparison(i % 20 == 9)
    return ask.comparison(i % 8 < 4) if i % 4 == 2 else ask.bridge(2)


def _musique(ask: _Asker, i: int) -> _Draft | None:
    """Half two, a third three, a sixth four hops."""
    return ask.bridge((2, 3, 2, 3, 2, 4)[i % 6])


_RECIPES: Mapping[str, Callable[[_Asker, int], _Draft | None]] = {
    "nq": lambda ask, i: ask.bridge(1, end=""),
    "triviaqa": lambda ask, i: ask.bridge(1, ask="which {kind}"),
    "popqa": lambda ask, i: ask.bridge(1),
    "hotpotqa": _hotpotqa,
    "2wikimultihopqa": _two_wiki,
    "musique": _musique,
    "bamboogle": lambda ask, i: ask.hard(),
}


def _identity(benchmark: str, split: str, number: int, hops: int) -> str:
    """The id as a native file of that benchmark would have it, or as its reader numbers records without one."""
    forms = {"popqa": f"{number}", "musique": f"{hops}hop__{split}_{number}"}
    return forms.get(benchmark, f"{split}_{number}")


def size(config: WorldConfig, benchmark: str, split: str) -> int:
    """How many questions a set has."""
    asked = {"train": config.train_questions, "validation": config.validation_questions, "test": config.test_questions}
    return min(asked[split], BAMBOOGLE_QUESTIONS) if benchmark == "bamboogle" else asked[split]


def ask(config: WorldConfig, facts: Facts, benchmark: str, split: str) -> tuple[WorldQuestion, ...]:
    """The questions of one set, no two alike. UserError where the world is too small to have that many."""
    asker = _Asker(facts, generator(config.seed, "world", "questions", split, benchmark))
    wanted, seen, found = size(config, benchmark, split), set[str](), list[WorldQuestion]()
    for _ in range(_TRIES * (wanted + 10)):
        if len(found) == wanted:
            return tuple(found)
        draft = _RECIPES[benchmark](asker, len(found))
        if draft is None or draft.text in seen:
            continue
        seen.add(draft.text)
        identity = _identity(benchmark, split, len(found), len(draft.chain))
        answers = draft.answers if benchmark in _WITH_ALIASES else draft.answers[:1]
        found.append(WorldQuestion(benchmark, identity, draft.text, answers, draft.kind, draft.chain, draft.words))
    raise UserError(
        f"the synthetic world is too small for {wanted} different {benchmark} questions in its {split} set "
        f"({len(found)} found): lower world.{split}_questions or enlarge world.persons and its like"
    )
