"""The contexts in which a gold answer is scored, as token ids, and the answer's own ids.

Two forms. `ids`: slices of the rollout, in its own ids: nothing is decoded and encoded again. `text`: the texts of the
blocks joined with line breaks and tokenised afresh, as the released IG-Search scorer does (a tag or a special-token
string in a document then becomes a real one).
"""

from collections.abc import Sequence
from itertools import chain
from typing import Protocol

from igsearch.methods import InformationGainConfig
from igsearch.policy.base import Policy
from igsearch.records import Episode, Span, SpanKind
from igsearch.rewards.likelihood import Ids

Block = Ids | str


class Form(Protocol):
    """How the blocks of a context are taken from an episode and joined. An absent block is empty."""

    def block(self, episode: Episode, start: int, span: Span) -> Block:
        """The tagged block of `span`, without the tokens before `start` (which another block holds already)."""
        ...

    def prefix(self, episode: Episode, end: int) -> Block:
        """The prompt and the first `end` tokens of the response."""
        ...

    def join(self, blocks: Sequence[Block]) -> Ids:
        """The blocks in order, then the opening of an answer."""
        ...


class IdForm:
    """Slices of the rollout's own ids."""

    def __init__(self, policy: Policy, config: InformationGainConfig) -> None:
        opening = _opening(config)
        ids = policy.tokenizer.encode(opening, add_special_tokens=False, split_special_tokens=False)
        self._opening = tuple(ids)

    def block(self, episode: Episode, start: int, span: Span) -> Ids:
        return tuple(episode.response_ids[max(start, span.outer_start) : span.outer_end])

    def prefix(self, episode: Episode, end: int) -> Ids:
        return (*episode.prompt_ids, *episode.response_ids[:end])

    def join(self, blocks: Sequence[Block]) -> Ids:
        return (*chain.from_iterable(block for block in blocks if not isinstance(block, str)), *self._opening)


class TextForm:
    """The released scorer's text, re-tokenised."""

    def __init__(self, policy: Policy, config: InformationGainConfig) -> None:
        self._policy = policy
        self._opening = _opening(config)

    def block(self, episode: Episode, start: int, span: Span) -> str:
        text = self._policy.pieces.text(episode.response_ids[span.outer_start : span.outer_end])
        if span.kind is SpanKind.REFINE and "</refine>" not in text:  # the policy left it open: closed here, as there
            return f"<refine> {span.text} </refine>"
        return _between_tags(text, span.kind).strip()

    def prefix(self, episode: Episode, end: int) -> str:
        return self._policy.pieces.text([*episode.prompt_ids, *episode.response_ids[:end]]).rstrip()

    def join(self, blocks: Sequence[Block]) -> Ids:
        text = "\n".join(block for block in blocks if block and isinstance(block, str)) + self._opening
        return tuple(self._policy.tokenizer.encode(text, add_special_tokens=False))


def _opening(config: InformationGainConfig) -> str:
    return "\n<answer> " if config.answer_space == "authors" else "\n<answer>"


def _between_tags(text: str, kind: SpanKind) -> str:
    """`text` from its opening to its closing tag: a token at either end may hold more than the tag."""
    start, end = text.find(f"<{kind.value}>"), text.rfind(f"</{kind.value}>")
    return text[max(start, 0) : end + len(f"</{kind.value}>") if end >= 0 else None]


def form_of(policy: Policy, config: InformationGainConfig) -> Form:
    """The form that `config.contexts` names."""
    return IdForm(policy, config) if config.contexts == "ids" else TextForm(policy, config)


def answer_ids(policy: Policy, answer: str, config: InformationGainConfig) -> Ids:
    """The ids of a gold answer: with the space before it (`natural`), or without (`authors`, it is in the context)."""
    return tuple(policy.encode(answer if config.answer_space == "authors" else f" {answer}"))


def until_query(form: Form, episode: Episode, step: int) -> list[Block]:
    """The blocks up to and including the query of `step`: what its documents are an answer to."""
    searches = episode.spans_of(SpanKind.SEARCH)
    end = min(span.outer_start for span in searches)
    blocks = [form.prefix(episode, end)]
    for index in range(step + 1):
        for kind in (SpanKind.SEARCH, SpanKind.DOCUMENTS, SpanKind.REFINE):
            span = episode.span_at(kind, index)
            if span and (index < step or kind is SpanKind.SEARCH):
                blocks.append(form.block(episode, end, span))
                end = span.outer_end
    return blocks


def outcome_of(form: Form, episode: Episode, step: int) -> tuple[Block, Block]:
    """The documents block of `step`, and the refine that followed (empty where there was none)."""
    documents, refine = episode.span_at(SpanKind.DOCUMENTS, step), episode.span_at(SpanKind.REFINE, step)
    if documents is None:
        return (), ()
    follow = form.block(episode, documents.outer_end, refine) if refine else ()
    return form.block(episode, documents.outer_start, documents), follow
