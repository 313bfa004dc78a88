"""The plain data that flows between the modules. No I/O and no heavy imports."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

BENCHMARKS = ("nq", "triviaqa", "popqa", "hotpotqa", "2wikimultihopqa", "musique", "bamboogle")


@dataclass(frozen=True, slots=True)
class Passage:
    """One retrievable unit. On disk `{"id", "contents"}` with contents = quoted title, newline, text."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage found for a query, with the retriever's score."""

    passage: Passage
    score: float


@dataclass(frozen=True, slots=True)
class Question:
    """One question. `answers` are the accepted aliases, the first being the canonical one; `hops` where known."""

    id: str
    benchmark: str
    text: str
    answers: tuple[str, ...]
    hops: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def uid(self) -> str:
        """Identity across benchmarks: it defines the group of a rollout and keys every random draw."""
        return f"{self.benchmark}/{self.id}"


class SpanKind(StrEnum):
    """What a stretch of an episode is."""

    THINK = "think"
    SEARCH = "search"
    DOCUMENTS = "documents"
    REFINE = "refine"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Span:
    """A tagged stretch of `Episode.response_ids`, in token indices, ends exclusive.

    `start:end` holds every token that overlaps the inner text; `outer_start:outer_end` also those of the tags (for
    documents: the whole injected observation with its blank lines). `step` is the search step it belongs to, from 0:
    a query, its documents and the refine that follows share one; -1 where it belongs to none. `text` is the inner text,
    stripped: where a token holds more than one thing, the tokens of `start:end` spell more than that.
    """

    kind: SpanKind
    start: int
    end: int
    outer_start: int
    outer_end: int
    step: int = -1
    text: str = ""


class EndReason(StrEnum):
    """How an episode ended."""

    ANSWERED = "answered"
    TURN_LIMIT = "turn_limit"
    TOKEN_BUDGET = "token_budget"
    MALFORMED = "malformed"
    RETRIEVER_FAILED = "retriever_failed"

    @property
    def sentence(self) -> str:
        return _END_SENTENCES[self]


_END_SENTENCES = {
    EndReason.ANSWERED: "The policy wrote a complete answer.",
    EndReason.TURN_LIMIT: "All turns were used, the last one without retrieval, and no answer came.",
    EndReason.TOKEN_BUDGET: "The token budget of the whole response ran out before an answer.",
    EndReason.MALFORMED: "The last turn held neither a complete search nor a complete answer.",
    EndReason.RETRIEVER_FAILED: "The retriever failed on a query; this counts as an error, not as a wrong answer.",
}


@dataclass(frozen=True, slots=True)
class SearchStep:
    """One executed search: what was asked, what came back, and how many of its passages this episode had not seen.

    `shown` is how many of the hits stand, whole or in part, in the documents block; None where all of them do.
    """

    query: str
    hits: tuple[Hit, ...]
    new_passages: int
    shown: int | None = None

    @property
    def shown_hits(self) -> tuple[Hit, ...]:
        """The hits that the policy was shown, best first."""
        return self.hits[: self.shown]


@dataclass(frozen=True, slots=True)
class Turn:
    """What the policy wrote between two moves of the environment: `Episode.response_ids[start:end]`.

    `step` is the search that it executed, -1 where it executed none. `valid`: it held a complete search or answer.
    `attempt` counts the episodes of a rollout that is asked to reflect and try again (MR-Search), from 0. `tidy`: its
    blocks were closed, none held a tag, and nothing but white space stood outside of them.
    """

    start: int
    end: int
    step: int = -1
    valid: bool = True
    attempt: int = 0
    tidy: bool = True


@dataclass(frozen=True, slots=True)
class Aside:
    """What the policy wrote in a context of its own, beside the response, to digest what search `step` found.

    `step` is -1 where that no longer fitted into the response, so that the search did not become a step.
    """

    step: int
    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]


@dataclass(slots=True)
class Episode:
    """One rollout, as token ids with provenance.

    `response_ids` is everything after the prompt, the policy's tokens and the environment's. `sampled[i]` says whether
    the policy wrote token i; `logprobs[i]` is its log-probability when it was sampled (0 for injected tokens).
    `steps[t]` belongs to the spans with `step == t`. `asides` are no part of the response. `prediction` is the inner
    text of the last complete answer, `attempts` that of each attempt (MR-Search; empty where there is but one).
    """

    question: Question
    rollout: int
    prompt_ids: list[int]
    response_ids: list[int] = field(default_factory=list)
    sampled: list[bool] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    steps: list[SearchStep] = field(default_factory=list)
    asides: list[Aside] = field(default_factory=list)
    prediction: str | None = None
    attempts: list[str | None] = field(default_factory=list)
    end: EndReason = EndReason.MALFORMED
    invalid_turns: int = 0

    def spans_of(self, kind: SpanKind) -> list[Span]:
        """The spans of one kind, in order."""
        return [span for span in self.spans if span.kind is kind]

    def span_at(self, kind: SpanKind, step: int) -> Span | None:
        """The span of `kind` at a search step, or None."""
        return next((span for span in self.spans if span.kind is kind and span.step == step), None)

    @property
    def sampled_tokens(self) -> int:
        """How many tokens the policy wrote, asides included."""
        return sum(self.sampled) + sum(len(aside.ids) for aside in self.asides)


@dataclass(frozen=True, slots=True)
class QuestionRecord:
    """What one model did on one question: every mean in every table is computed from these and from nothing else."""

    uid: str
    benchmark: str
    question: str
    answers: tuple[str, ...]
    hops: int | None
    prediction: str | None
    em: float
    em_by_attempt: tuple[float, ...]  # of each attempt's own answer; one entry where there was but one attempt
    f1: float
    cover_em: float
    searches: int
    searches_without_new_passage: int
    sampled_tokens: int
    retrieval_hit: bool | None  # None where nothing was searched
    first_query_useful: bool | None  # None where the facts of the chain are unknown or nothing was searched
    end: EndReason
    contract: str  # digest of the evaluation contract
    policy: str  # digest of the policy's weights
