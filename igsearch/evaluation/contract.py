"""What two results must share before they may stand in one table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from igsearch.config import Config, RolloutConfig
from igsearch.errors import UserError
from igsearch.inference import cot, direct, ircot, rag, search_o1
from igsearch.provenance import digest_json
from igsearch.records import Question
from igsearch.rollout.prompts import STYLES

NORMALISATION = "squad-1"
"""Version of the answer normalisation in text.py; raised whenever a prediction could score differently."""

DECODING = "greedy, one sample"
RETRIEVER = "bm25"
SPLIT = "test"

_SHOWN, _ABSENT = 12, "none"
_BUDGETS = ("max_searches", "max_turn_tokens", "max_observation_tokens", "max_response_tokens", "max_prompt_tokens")


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """The questions asked of one benchmark: the split, how many, the digest of their ids in order, and that of their
    ids, texts and answers."""

    benchmark: str
    split: str
    count: int
    ids: str
    digest: str

    def __str__(self) -> str:
        return f"{self.count} of {self.split} (ids {self.ids[:_SHOWN]}, texts and answers {self.digest[:_SHOWN]})"


@dataclass(frozen=True, slots=True)
class Difference:
    """A term on which two contracts differ, with both values as text. `part` is the setting or benchmark within it."""

    term: str
    part: str
    first: str
    second: str

    def __str__(self) -> str:
        return f"{f'{self.term}, {self.part}' if self.part else self.term}: {self.first} | {self.second}"


@dataclass(frozen=True, slots=True)
class Contract:
    """The terms of an evaluation. The policy and the way it answers are what is compared, so they are no part of it."""

    corpus: str
    retrieval: Mapping[str, Any]
    budgets: Mapping[str, int]
    prompt: Mapping[str, str]
    questions: tuple[QuestionSet, ...]
    normalisation: str = NORMALISATION
    decoding: str = DECODING

    @property
    def digest(self) -> str:
        """Identity of the contract; every QuestionRecord carries it."""
        return digest_json(asdict(self))

    def as_json(self) -> dict[str, Any]:
        """Plain data, with the digest beside the terms."""
        return {**asdict(self), "questions": [asdict(each) for each in self.questions], "digest": self.digest}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Contract":
        """The inverse of `as_json`."""
        terms = {name: value for name, value in data.items() if name != "digest"}
        return cls(**{**terms, "questions": tuple(QuestionSet(**each) for each in terms["questions"])})


def _question_set(benchmark: str, questions: Sequence[Question]) -> QuestionSet:
    ids = [question.id for question in questions]
    asked = [[question.id, question.text, list(question.answers)] for question in questions]
    return QuestionSet(benchmark, SPLIT, len(questions), digest_json(ids), digest_json(asked))


def _prompt(rollout: RolloutConfig) -> dict[str, str]:
    answering = (direct.PROMPTS, rag.PROMPTS, cot.PROMPTS, ircot.PROMPTS, search_o1.PROMPTS, search_o1.DISTILLING)
    usable = (prompts[rollout.prompt] for prompts in answering if rollout.prompt in prompts)
    texts = [asdict(STYLES[rollout.prompt]), *usable]
    return {"style": rollout.prompt, "document_template": rollout.document_template, "texts": digest_json(texts)}


def make(corpus_digest: str, questions: Mapping[str, Sequence[Question]], config: Config) -> Contract:
    """The contract under which `questions` (by benchmark) are asked over a corpus with a configuration."""
    rollout, retrieval = config.rollout, config.retrieval
    return Contract(
        corpus=corpus_digest,
        retrieval={"name": RETRIEVER, "k": retrieval.k, "k1": retrieval.k1, "b": retrieval.b},
        budgets={**{name: getattr(rollout, name) for name in _BUDGETS}, "answer": config.evaluation.max_answer_tokens},
        prompt=_prompt(rollout),
        questions=tuple(_question_set(name, questions[name]) for name in sorted(questions)),
    )


def _parts(value: Any) -> dict[str, str]:
    """A term's settings or question sets by name; a plain value is its own only part."""
    if isinstance(value, Mapping):
        return {str(name): _shown(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return {each.benchmark: str(each) for each in value}
    return {"": _shown(value)}


def _shown(value: Any) -> str:
    text = str(value)
    return f"{text[:_SHOWN]}…" if len(text) == 64 and text.isalnum() else text  # a digest


def _between(term: str, first: Any, second: Any) -> Iterator[Difference]:
    mine, theirs = _parts(first), _parts(second)
    for part in dict.fromkeys((*mine, *theirs)):
        values = mine.get(part, _ABSENT), theirs.get(part, _ABSENT)
        if values[0] != values[1]:
            yield Difference(term, part, *values)


def differences(first: Contract, second: Contract) -> list[Difference]:
    """Where two contracts differ: term by term, within retrieval, budgets and prompt setting by setting, and of the
    questions benchmark by benchmark. Empty exactly where their digests are equal."""
    if first.digest == second.digest:
        return []
    terms = [(each.name, getattr(first, each.name), getattr(second, each.name)) for each in fields(Contract)]
    return [found for term, mine, theirs in terms for found in _between(term, mine, theirs)]


def require_same(contracts: Mapping[str, Contract]) -> None:
    """UserError naming two results and the terms on which they differ, unless all contracts are equal."""
    (first, reference), *others = contracts.items()
    for name, contract in others:
        differing = list(dict.fromkeys(found.term for found in differences(reference, contract)))
        if differing:
            raise UserError(
                f"{first} and {name} were evaluated under different contracts (they differ in {', '.join(differing)}); "
                "put them into separate tables or evaluate both alike"
            )
