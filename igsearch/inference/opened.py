"""Answers that the environment asks for: it opens `<answer>` and the policy fills it in.

Small models seldom write the tags by themselves, and a missing tag would hide what they know. So the tag is given to
all of them, and the answer ends at `</answer>`, at a line break after its first word, with the text or at the token
limit, whichever comes first. What stands there counts as a complete answer.
"""

import re
from collections.abc import Sequence

from igsearch.inference.turns import Turns, Written
from igsearch.records import EndReason, SpanKind
from igsearch.rollout.protocol import close_tag, open_tag

ENDING = re.compile(rb"</answer>|(?<=\S)[^\S\n]*\n")

_CLOSING = close_tag(SpanKind.ANSWER).encode()
_CUT_TAG = re.compile(b"(?:" + b"|".join(_CLOSING[:length] for length in range(len(_CLOSING) - 1, 0, -1)) + rb")\Z")


def answer_opened(turns: Turns, rows: Sequence[int]) -> None:
    """Let `rows` answer at once, after whatever they hold, and end them. A tag that the policy has just opened itself
    is not opened again."""
    opening, line_break = turns.ids(open_tag(SpanKind.ANSWER)), turns.ids("\n")
    asked = {}
    for row in rows:
        before = line_break if turns.episodes[row].response_ids else []
        asked[row] = [] if turns.tail(row).endswith(open_tag(SpanKind.ANSWER)) else [*before, *opening]
    turns.inject(asked)
    caps = [turns.config.evaluation.max_answer_tokens] * len(rows)
    for row, turn in turns.sample(rows, ENDING, caps).items():
        span = turns.add_span(row, SpanKind.ANSWER, turn, _ends(turn), len(opening))
        turns.episodes[row].prediction = span.text
        turns.episodes[row].end = EndReason.ANSWERED


def _ends(turn: Written) -> tuple[int, int]:
    """As `inner`. Of a closing tag that the token limit cut off, nothing belongs to the answer."""
    inner, outer = turn.inner(ENDING)
    cut = _CUT_TAG.search(turn.text.data) if inner == len(turn.text.data) else None
    return (cut.start(), outer) if cut else (inner, outer)
