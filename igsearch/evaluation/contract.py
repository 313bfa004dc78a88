"""What two results must share before they may stand in one table."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from igsearch.config import Config, RolloutConfig
from igsearch.errors import UserError
from igsearch.inference import direct, rag
from igsearch.provenance import digest_json
from igsearch.records import Question
from igsearch.rollout.prompts import STYLES

NORMALISATION = "squad-1"
"""Version of the answer normalisation in text.py; raised whenever a prediction could score differently."""

DECODING = "greedy, one sample"

_BUDGETS = ("max_searches", "max_turn_tokens", "max_observation_tokens", "max_response_tokens", "max_prompt_tokens")


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """The questions asked of one benchmark: how many, and the digest of their ids, texts and answers in order."""

    benchmark: str
    count: int
    digest: str


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
    asked = [[question.id, question.text, list(question.answers)] for question in questions]
    return QuestionSet(benchmark, len(questions), digest_json(asked))


def _prompt(rollout: RolloutConfig) -> dict[str, str]:
    texts = [asdict(STYLES[rollout.prompt]), direct.PROMPTS[rollout.prompt], rag.PROMPTS[rollout.prompt]]
    return {"style": rollout.prompt, "document_template": rollout.document_template, "texts": digest_json(texts)}


def make(corpus_digest: str, questions: Mapping[str, Sequence[Question]], config: Config) -> Contract:
    """The contract under which `questions` (by benchmark) are asked over a corpus with a configuration."""
    rollout, retrieval = config.rollout, config.retrieval
    return Contract(
        corpus=corpus_digest,
        retrieval={"k": retrieval.k, "k1": retrieval.k1, "b": retrieval.b},
        budgets={**{name: getattr(rollout, name) for name in _BUDGETS}, "answer": config.evaluation.max_answer_tokens},
        prompt=_prompt(rollout),
        questions=tuple(_question_set(name, questions[name]) for name in sorted(questions)),
    )


def require_same(contracts: Mapping[str, Contract]) -> None:
    """UserError naming two results and the terms on which they differ, unless all contracts are equal."""
    (first, reference), *others = contracts.items()
    for name, contract in others:
        if contract.digest == reference.digest:
            continue
        mine, theirs = reference.as_json(), contract.as_json()
        differing = [term for term in mine if term != "digest" and digest_json(mine[term]) != digest_json(theirs[term])]
        raise UserError(
            f"{first} and {name} were evaluated under different contracts (they differ in {', '.join(differing)}); "
            "put them into separate tables or evaluate both alike"
        )
