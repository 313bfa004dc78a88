"""What the ways of answering share: one decoding session for a batch of episodes, greedy turns, and who wrote what.

A small model seldom writes tags by itself. So the environment opens a tag wherever it asks for something, and closes it
where the policy has not. Room for the answer is kept in every response; how it is read stands in `opened`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from igsearch.config import Config
from igsearch.errors import UserError
from igsearch.policy import generate
from igsearch.policy.base import Policy, Sampled, Session
from igsearch.policy.pieces import Pieces
from igsearch.records import EndReason, Episode, Hit, Question, Span, SpanKind, Turn
from igsearch.retrieval.base import Retriever
from igsearch.rollout.environment import add_step, append_injected, append_sampled, search_each
from igsearch.rollout.prompts import STYLES, message_ids, question_ids, trusted_ids
from igsearch.rollout.protocol import Block, Observation, TurnText, close_tag, open_tag

ANSWER_OPENS = open_tag(SpanKind.ANSWER).encode()
THOUGHT_ENDS = re.compile(b"</think>|</answer>|" + ANSWER_OPENS)
"""Where a thought ends: with its tag, or where the policy goes over to the answer or takes itself to have given it."""

SENTENCE_ENDS = rb"(?<=\S)[^\S\n]*\n|(?<=[A-Za-z\x80-\xff]{3})[.!?]|(?<=[0-9]{4})[.!?]|(?<=[)\]\"'])[.!?]"
"""Where a sentence ends: at a line break, or at a full stop after three letters, a year, a bracket or a quotation mark;
so abbreviations of two letters, initials and decimals end none."""

_CLOSED = re.compile(r"(</think>\s*|<answer>)\Z")
_TAG_TOKENS = 16  # no tokenizer needs more for a tag

REASON_IN_WORDS = ("cot", "ircot", "search_o1")
"""The ways of answering for policies that write sentences."""


def refusal(method: str, style: str) -> str | None:
    """Why a way of answering means nothing in a prompt style, as a clause for users and tables; None where it works."""
    if not style.startswith("tiny") or method not in REASON_IN_WORDS:
        return None
    return (
        f"{method} reasons in sentences, and a policy of the prompt style {style!r} has none: its vocabulary of some "
        "220 entries is names, relations and tags"
    )


def require(method: str, style: str) -> None:
    """UserError where a way of answering means nothing in a prompt style."""
    reason = refusal(method, style)
    if reason:
        raise UserError(f"{reason}; answer with agent, direct or rag instead")


def prompt_text(prompts: Mapping[str, str], method: str, config: Config) -> str:
    """The prompt of a way of answering in the configured style. UserError where it means nothing there."""
    require(method, config.rollout.prompt)
    return prompts[config.rollout.prompt]


def begin(policy: Policy, question: Question, prompt: str, config: Config, **slots: Sequence[int]) -> Episode:
    """A fresh episode. `prompt` has a slot for the question and one for each of `slots`, untrusted texts as ids; it is
    cut on the left to `max_prompt_tokens`."""
    values = {"question": question_ids(policy, question.text), **slots}
    ids = message_ids(policy, prompt, values, STYLES[config.rollout.prompt].chat)
    return Episode(question, 0, ids[-config.rollout.max_prompt_tokens :])


def retagged(prompt: str) -> str:
    """A prompt with the tags of the style `search_r1` around what is found."""
    return prompt.replace("documents>", "information>")


class Watch:
    """Ends a turn with the token that completes what `ending` describes."""

    def __init__(self, pieces: Pieces, ending: re.Pattern[bytes]) -> None:
        self._pieces, self._ending = pieces, ending
        self._text = b""

    def closes(self, token_id: int) -> bool:
        """Whether the ending is complete with this token. To be called once for each token in order."""
        self._text += self._pieces.bytes(token_id)
        return self._ending.search(self._text) is not None


def write(
    policy: Policy, session: Session, rows: Sequence[int], ending: re.Pattern[bytes], caps: Sequence[int]
) -> list[Sampled]:
    """One greedy turn of each row, up to `ending`, the end of the text or its cap."""
    watches = {row: Watch(policy.pieces, ending) for row in rows}
    return session.generate(rows, lambda row, token_id: watches[row].closes(token_id), caps, None, 1.0)


@dataclass(frozen=True, slots=True)
class Written:
    """A sampled turn and where it begins in the response."""

    offset: int
    text: TurnText

    def inner(self, ending: re.Pattern[bytes]) -> tuple[int, int]:
        """Bytes at which the turn's content ends and at which its closing tag does, which are the same without one.

        A full stop that ends a turn belongs to its content; tags and line breaks do not.
        """
        found = ending.search(self.text.data)
        if found is None:
            return len(self.text.data), len(self.text.data)
        if found[0].startswith(b"</"):
            return found.start(), found.end()
        end = found.start() if found[0].startswith(b"<") or found[0].isspace() else found.end()
        return end, end


@dataclass(frozen=True)
class Turns:
    """The episodes of one session, filled in place. Row i of the session is `episodes[i]`."""

    policy: Policy
    session: Session
    episodes: Sequence[Episode]
    config: Config

    @property
    def rows(self) -> list[int]:
        """All rows."""
        return list(range(len(self.episodes)))

    def ids(self, text: str) -> list[int]:
        """The ids of text that is ours."""
        return trusted_ids(self.policy, text)

    def room(self, row: int) -> int:
        """How many tokens the response has left beside the answer and the tags that lead to it."""
        tags = (close_tag(SpanKind.THINK), "\n", open_tag(SpanKind.ANSWER))
        kept = sum(len(self.ids(tag)) for tag in tags) + self.config.evaluation.max_answer_tokens
        return self.config.rollout.max_response_tokens - len(self.episodes[row].response_ids) - kept

    def inject(self, ids: Mapping[int, Sequence[int]]) -> None:
        """Write to rows; an empty text is left out."""
        rows = [row for row in sorted(ids) if ids[row]]
        self.session.append(rows, [ids[row] for row in rows])
        for row in rows:
            append_injected(self.episodes[row], ids[row])

    def sample(self, rows: Sequence[int], ending: re.Pattern[bytes], caps: Sequence[int]) -> dict[int, Written]:
        """One turn of the policy in each of `rows`, of at most so many tokens, recorded."""
        written = {}
        turns = write(self.policy, self.session, rows, ending, caps) if rows else []
        for row, sampled in zip(rows, turns, strict=True):
            episode = self.episodes[row]
            offset = len(episode.response_ids)
            append_sampled(episode, sampled)
            episode.turns.append(Turn(offset, len(episode.response_ids)))
            written[row] = Written(offset, TurnText(self.policy.pieces, sampled.ids, generate.eos_ids(self.policy)))
        return written

    def think(self, rows: Sequence[int], ending: re.Pattern[bytes], cap: int) -> dict[int, str]:
        """A thought of each row that has room for one, of at most `cap` tokens, in tags that the environment sees to.

        Where the policy has gone over to the answer by itself, the tags are left to it.
        """
        opening = self.ids(open_tag(SpanKind.THINK))
        rows = [row for row in rows if self.room(row) > len(opening)]
        self.inject(dict.fromkeys(rows, opening))
        written = self.sample(rows, ending, [min(cap, self.room(row)) for row in rows])
        self.close_thought(rows)
        return {
            row: self.add_span(row, SpanKind.THINK, turn, turn.inner(ending), len(opening)).text
            for row, turn in written.items()
        }

    def close_thought(self, rows: Sequence[int]) -> None:
        """Write the closing tag where the policy wrote neither it nor the tag that opens the answer."""
        closing = self.ids(close_tag(SpanKind.THINK))
        self.inject({row: [] if _CLOSED.search(self.tail(row)) else closing for row in rows})

    def tail(self, row: int) -> str:
        """The end of the response, long enough for a tag."""
        return self.policy.pieces.text(self.episodes[row].response_ids[-_TAG_TOKENS:])

    def add_span(self, row: int, kind: SpanKind, turn: Written, ends: tuple[int, int], opening: int) -> Span:
        """Record what stands from the turn's start to `ends`, with the `opening` injected tokens before it."""
        span = turn.text.span(Block(kind, 0, 0, *ends), turn.offset)
        span = replace(span, outer_start=turn.offset - opening)
        self.episodes[row].spans.append(span)
        return span

    def search(self, retriever: Retriever, queries: Mapping[int, str]) -> dict[int, list[Hit]]:
        """What the queries of rows bring: one call for all. A row whose retriever fails has ended."""
        found = search_each(retriever, list(queries.values()), self.config.retrieval.k)
        for row, hits in zip(queries, found, strict=True):
            if hits is None:
                self.episodes[row].end = EndReason.RETRIEVER_FAILED
        return {row: hits for row, hits in zip(queries, found, strict=True) if hits is not None}

    def show(self, row: int, query: str, hits: Sequence[Hit], seen: Observation) -> bool:
        """Inject what a search gave, as a step of the turn before it. False where there is no room: then it is none."""
        episode = self.episodes[row]
        if len(seen.ids) > self.room(row):
            return False
        step, offset = add_step(episode, query, hits, seen.shown), len(episode.response_ids)
        if episode.turns:
            episode.turns[-1] = replace(episode.turns[-1], step=step)
        inner, outer = (offset + seen.start, offset + seen.end), (offset, offset + len(seen.ids))
        episode.spans.append(Span(SpanKind.DOCUMENTS, *inner, *outer, step, seen.text))
        self.inject({row: seen.ids})
        return True


def sessions(policy: Policy, episodes: Sequence[Episode], config: Config) -> Iterator[Turns]:
    """The episodes that can be answered, `rollout.batch_size` to a session."""
    size = config.rollout.batch_size
    ready = [episode for episode in episodes if episode.end is not EndReason.RETRIEVER_FAILED]
    for start in range(0, len(ready), size):
        batch = ready[start : start + size]
        yield Turns(policy, generate.start(policy, [episode.prompt_ids for episode in batch]), batch, config)
