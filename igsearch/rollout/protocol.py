"""The tags of the search protocol: how observations are rendered and how a sampled turn is read.

Reading works on the bytes of the tokens that the policy sampled in one turn, and on nothing else: what the environment
wrote is never read, so a passage that contains `<answer>` or `</documents>` is inert.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from igsearch.config import RolloutConfig
from igsearch.policy.base import Policy
from igsearch.policy.pieces import Pieces
from igsearch.records import Episode, Hit, Span, SpanKind
from igsearch.rollout.prompts import STYLES, trusted_ids


def open_tag(kind: SpanKind) -> str:
    """`<search>` and its kin."""
    return f"<{kind.value}>"


def close_tag(kind: SpanKind) -> str:
    """`</search>` and its kin."""
    return f"</{kind.value}>"


@dataclass(frozen=True, slots=True)
class Observation:
    """An injected documents block: its ids, and where the inner text lies in them (end exclusive).

    `shown` is how many passages stand in it, whole or in part; None where all that were found do.
    """

    ids: list[int]
    start: int
    end: int
    text: str
    shown: int | None = None


def render_hits(hits: Sequence[Hit], template: str) -> str:
    """The passages as text, each through `template` with `{k}` (from 1), `{title}` and `{text}`."""
    return "".join(
        template.format(k=rank, title=hit.passage.title, text=hit.passage.text)
        for rank, hit in enumerate(hits, start=1)
    )


def observation(policy: Policy, hits: Sequence[Hit], config: RolloutConfig) -> Observation:
    """The documents block for `hits`."""
    whole = text_observation(policy, render_hits(hits, config.document_template), config)
    if len(whole.ids) < config.max_observation_tokens:  # nothing was cut
        return whole
    starts = (len(policy.encode(render_hits(hits[:rank], config.document_template))) for rank in range(len(hits)))
    return replace(whole, shown=sum(start < whole.end - whole.start for start in starts))


def text_observation(policy: Policy, text: str, config: RolloutConfig) -> Observation:
    """The documents block for an untrusted text, at most `max_observation_tokens` long.

    Too long a text is cut on the right and the closing tag kept; the original scripts cut the tag off with it.
    """
    style = STYLES[config.prompt]
    opening, closing = trusted_ids(policy, style.documents_open), trusted_ids(policy, style.documents_close)
    room = max(0, config.max_observation_tokens - len(opening) - len(closing))
    inner = policy.encode(text)[:room]
    kept = b"".join(map(policy.pieces.bytes, inner)).decode("utf-8", errors="ignore")
    return Observation([*opening, *inner, *closing], len(opening), len(opening) + len(inner), kept.strip())


@dataclass(frozen=True, slots=True)
class Block:
    """A tagged stretch of a sampled turn, in bytes from the turn's start, ends exclusive."""

    kind: SpanKind
    outer_start: int
    start: int
    end: int
    outer_end: int


_CLOSING = re.compile(rb"</(search|answer)>")
_LONGEST_CLOSING = len(b"</search>")
_THINK = re.compile(rb"<think>(.*?)</think>", re.DOTALL)
_REFINE = re.compile(rb"<refine>")
_REFINE_END = re.compile(rb"</refine>|(?=\n\s*<(?:search|answer)>)")
_ACTION_OPENS = re.compile(rb"<(?:search|answer)>")
_TAG = re.compile(rb"</?(?:think|refine|search|answer|documents|information)>")


class Watch:
    """Follows one turn byte by byte, to end it with the token that completes the first closing tag."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._tail = b""

    def closes(self, token_id: int) -> bool:
        """Whether `</search>` or `</answer>` is complete with this token. To be called once for each token in order."""
        self._tail = self._tail[1 - _LONGEST_CLOSING :] + self._pieces.bytes(token_id)
        return _CLOSING.search(self._tail) is not None


def action_block(turn: bytes) -> Block | None:
    """The search or answer that the first closing tag completes; None where there is none or it was never opened.

    A tag that was opened several times counts from the last time.
    """
    closing = _CLOSING.search(turn)
    if closing is None:
        return None
    kind = SpanKind(closing[1].decode())
    opening = open_tag(kind).encode()
    outer_start = turn.rfind(opening, 0, closing.start())
    if outer_start < 0:
        return None
    return Block(kind, outer_start, outer_start + len(opening), closing.start(), closing.end())


def _refine_blocks(turn: bytes) -> list[Block]:
    """An unclosed refine ends before a line that opens an action, else before any opened action, else with the turn."""
    blocks: list[Block] = []
    opening = _REFINE.search(turn)
    while opening:
        start = opening.end()
        ending = _REFINE_END.search(turn, start) or _ACTION_OPENS.search(turn, start)
        end = ending.start() if ending else len(turn)
        outer_end = ending.end() if ending and ending[0] == b"</refine>" else end
        blocks.append(Block(SpanKind.REFINE, opening.start(), start, end, outer_end))
        opening = _REFINE.search(turn, outer_end)
    return blocks


def _think_blocks(turn: bytes) -> list[Block]:
    return [Block(SpanKind.THINK, m.start(), m.start(1), m.end(1), m.end()) for m in _THINK.finditer(turn)]


def turn_blocks(turn: bytes) -> list[Block]:
    """All thoughts and refines of a turn in order, then its action if it has one."""
    action = action_block(turn)
    notes = sorted([*_think_blocks(turn), *_refine_blocks(turn)], key=lambda block: block.start)
    return [*notes, *([action] if action else [])]


def is_tidy(turn: bytes, blocks: Sequence[Block]) -> bool:
    """Whether the blocks of a turn are closed and hold no tags, and only white space stands outside of them."""
    outside, position = b"", 0
    for block in blocks:
        if block.outer_end == block.end or _TAG.search(turn, block.start, block.end):
            return False
        outside, position = outside + turn[position : block.outer_start], block.outer_end
    return not (outside + turn[position:]).strip()


class TurnText:
    """The tokens of one sampled turn beside their bytes. A last token of `end_ids` adds nothing to the text."""

    def __init__(self, pieces: Pieces, ids: Sequence[int], end_ids: Collection[int] = ()) -> None:
        text_ids = ids[:-1] if ids and ids[-1] in end_ids else ids
        parts = [pieces.bytes(token_id) for token_id in text_ids]
        self.data = b"".join(parts)
        self._ends = list(accumulate(map(len, parts)))
        self._starts = [0, *self._ends][: len(parts)]

    def _tokens(self, start: int, end: int) -> tuple[int, int]:
        """The range of tokens that overlap bytes start:end; an empty one where there are no bytes."""
        first = bisect_right(self._ends, start)
        return first, max(first, bisect_left(self._starts, end)) if end > start else first

    def span(self, block: Block, offset: int, step: int = -1) -> Span:
        """The block in token indices of a response in which the turn starts at `offset`."""
        start, end = self._tokens(block.start, block.end)
        outer_start, outer_end = self._tokens(block.outer_start, block.outer_end)
        text = self.data[block.start : block.end].decode("utf-8", errors="replace").strip()
        return Span(block.kind, start + offset, end + offset, outer_start + offset, outer_end + offset, step, text)


def query_positions(episode: Episode, step: int) -> tuple[int, ...]:
    """Indices into the response of the sampled tokens that overlap the query of a search step."""
    span = episode.span_at(SpanKind.SEARCH, step)
    return tuple(i for i in range(span.start, span.end) if episode.sampled[i]) if span else ()
