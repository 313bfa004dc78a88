"""Search-R1's reward for answer and format: a state machine over the blocks of a response.

    valid:    1 if the answer is right, else structure + retrieval * (a gold answer stands in the documents)
    invalid:  1 - structure if the answer is right, final if it is wrong, 0 without one

    a response is valid if its blocks are  note* (search documents note+)* answer,  note = think or refine

with nothing but white space between them. Source: the third version of Search-R1's code (arXiv 2505.15117), structure
0.2, final 0.1, retrieval 0; `documents` is what it calls information.

Deviations. The original demands exactly one think block before each search and answer; here a refine block can take its
place, several blocks may stand there, the first place may be empty unless `think_first`, and so may the others where
`note_after_documents` is off. Blocks are known from the time they were written, not found in the text: a tag in a
document is no tag. Only the response is read, where the original also finds the two example answers of its prompt; and
a hit is a gold answer as whole words.
"""

import re
from collections.abc import Mapping

from igsearch.methods import FormatConfig
from igsearch.records import EndReason, Episode, SpanKind
from igsearch.text import contains_answer

_LETTERS: Mapping[SpanKind, str] = {
    SpanKind.THINK: "t",
    SpanKind.REFINE: "r",
    SpanKind.SEARCH: "s",
    SpanKind.DOCUMENTS: "d",
    SpanKind.ANSWER: "a",
}


def is_valid(episode: Episode, config: FormatConfig) -> bool:
    """Whether the response ends in an answer, holds the blocks in order and nothing between them."""
    if episode.end is not EndReason.ANSWERED or not all(turn.valid and turn.tidy for turn in episode.turns):
        return False
    letters = "".join(_LETTERS[span.kind] for span in episode.spans)
    return re.fullmatch(_machine(config), letters) is not None


def _machine(config: FormatConfig) -> str:
    first, after = "t" if config.think_first else "", "+" if config.note_after_documents else "*"
    return f"{first}[tr]*(sd[tr]{after})*a"


def _retrieved(episode: Episode) -> bool:
    documents = episode.spans_of(SpanKind.DOCUMENTS)
    return any(contains_answer(span.text, episode.question.answers) for span in documents)


def search_r1_format(episode: Episode, right: bool, config: FormatConfig) -> float:
    """The reward of a rollout whose answer, if it has one, is `right` or not."""
    if is_valid(episode, config):
        return 1.0 if right else config.structure + config.retrieval * _retrieved(episode)
    if right:
        return 1.0 - config.structure
    return 0.0 if episode.prediction is None else config.final
