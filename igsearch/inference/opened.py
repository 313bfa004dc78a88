"""Answers without a loop: the environment opens `<answer>` and the policy fills it in.

Small models seldom write the tags by themselves, and a missing tag would hide what they know. So the tag is given to
all of them, and the answer ends at `</answer>`, at a line break after its first word, with the text or at the token
limit, whichever comes first. What stands there counts as a complete answer.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from igsearch.policy import generate
from igsearch.policy.base import Policy, Sampled
from igsearch.policy.pieces import Pieces
from igsearch.records import EndReason, Episode, SpanKind, Turn
from igsearch.rollout.environment import append_injected, append_sampled
from igsearch.rollout.prompts import trusted_ids
from igsearch.rollout.protocol import Block, TurnText, open_tag

_END = re.compile(rb"</answer>|(?<=\S)[^\S\n]*\n")


class _Watch:
    """Ends the turn with the token that completes the answer."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._text = b""

    def closes(self, token_id: int) -> bool:
        self._text += self._pieces.bytes(token_id)
        return _END.search(self._text) is not None


def _record(policy: Policy, episode: Episode, sampled: Sampled) -> None:
    """Append what was sampled, with its span, and end the episode."""
    offset = len(episode.response_ids)
    append_sampled(episode, sampled)
    text = TurnText(policy.pieces, sampled.ids, generate.eos_ids(policy))
    ending = _END.search(text.data)
    end = ending.start() if ending else len(text.data)
    outer_end = ending.end() if ending and ending[0] == b"</answer>" else end
    span = text.span(Block(SpanKind.ANSWER, 0, 0, end, outer_end), offset)
    episode.spans.append(replace(span, outer_start=0))
    episode.turns.append(Turn(offset, len(episode.response_ids)))
    episode.prediction = span.text
    episode.end = EndReason.ANSWERED


def _answer_batch(policy: Policy, episodes: Sequence[Episode], opening: Sequence[int], max_answer_tokens: int) -> None:
    session = generate.start(policy, [[*episode.prompt_ids, *opening] for episode in episodes])
    watches = [_Watch(policy.pieces) for _ in episodes]
    caps = [max_answer_tokens] * len(episodes)
    written = session.generate(range(len(episodes)), lambda row, token: watches[row].closes(token), caps, None, 1.0)
    for episode, sampled in zip(episodes, written, strict=True):
        append_injected(episode, opening)
        _record(policy, episode, sampled)


def answer_opened(policy: Policy, episodes: Sequence[Episode], max_answer_tokens: int, batch_size: int) -> None:
    """Greedily answer each fresh episode after its prompt, `batch_size` at a time, filling it in place."""
    opening = trusted_ids(policy, open_tag(SpanKind.ANSWER))
    for start in range(0, len(episodes), batch_size):
        _answer_batch(policy, episodes[start : start + batch_size], opening, max_answer_tokens)
