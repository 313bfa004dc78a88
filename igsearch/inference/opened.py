"""Answers that the environment asks for: it opens `<answer>` and the policy fills it in.

Small models seldom write the tags by themselves, and a missing tag would hide what they know. So the tag is given to
all of them, and the answer ends at `</answer>`, at a line break after its first word, with the text or at the token
limit, whichever comes first. What stands there counts as a complete answer.
"""

import re
from collections.abc import Sequence

from igsearch.inference.turns import Turns
from igsearch.records import EndReason, SpanKind
from igsearch.rollout.protocol import open_tag

ENDING = re.compile(rb"</answer>|(?<=\S)[^\S\n]*\n")


def answer_opened(turns: Turns, rows: Sequence[int]) -> None:
    """Let `rows` answer at once, after whatever they hold, and end them. A tag that the policy has just opened itself
    is not opened again."""
    opening, line_break = turns.ids(open_tag(SpanKind.ANSWER)), turns.ids("\n")
    asked = {}
    for row in rows:
        before = line_break if turns.episodes[row].response_ids else []
        asked[row] = [] if turns.tail(row).endswith(open_tag(SpanKind.ANSWER)) else [*before, *opening]
    turns.inject(asked)
    for row, turn in turns.sample(rows, ENDING, turns.config.evaluation.max_answer_tokens).items():
        span = turns.add_span(row, SpanKind.ANSWER, turn, turn.inner(ENDING), len(opening))
        turns.episodes[row].prediction = span.text
        turns.episodes[row].end = EndReason.ANSWERED
