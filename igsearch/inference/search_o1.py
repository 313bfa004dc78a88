"""Search-o1 (arXiv 2501.05366): the policy searches while it reasons, and reads what it found apart.

    reasoning ... <search>query</search> -> documents -> a generation of its own distils them for this reasoning
    -> only the distillate enters the reasoning, between <documents> and </documents> -> reasoning goes on

Raw documents never stand in the reasoning context. Generation with the documents is an `Aside` of the episode: its
tokens count as sampled, and the transcript shows it. The reasoning ends with `</think>`, with a turn that searches
nothing, or after `rollout.max_searches` searches and one more turn. See `opened` for where an answer ends.

Deviations: our tags; the environment opens the thought, the distillate and the answer. A distillate is one sentence (as
in `turns`), where the paper's may reason at length. Each turn and each distillate has at most `max_turn_tokens`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from igsearch.config import Config
from igsearch.inference.opened import answer_opened
from igsearch.inference.turns import (
    SENTENCE_ENDS,
    THOUGHT_ENDS,
    Turns,
    Written,
    begin,
    prompt_text,
    retagged,
    sessions,
    write,
)
from igsearch.policy import generate
from igsearch.policy.base import Policy
from igsearch.records import Aside, EndReason, Episode, Hit, Question, SpanKind
from igsearch.retrieval.base import Retriever
from igsearch.rollout.protocol import (
    Block,
    Observation,
    TurnText,
    action_block,
    open_tag,
    render_hits,
    text_observation,
)

_TURN_ENDS = re.compile(b"</search>|" + THOUGHT_ENDS.pattern)
_DISTILLATE_ENDS = re.compile(b"</refine>|" + SENTENCE_ENDS)
_NOTHING = "Nothing useful was found."

_REASONING = """Answer the last question. Reason step by step between <think> and </think>. Where a fact is missing, \
search for it in the middle of your reasoning: write a short query between <search> and </search>, and what is found \
for it appears between <documents> and </documents>. When you know enough, end your reasoning and write only the \
answer itself, in one to five words, between <answer> and </answer>.

Question: In which country was the director of Solaris born?
<think>I need the director of Solaris first. <search>director of the film Solaris</search>
<documents>Andrei Tarkovsky directed Solaris.</documents>
Now I need the country in which he was born. <search>Andrei Tarkovsky birthplace</search>
<documents>Andrei Tarkovsky was born in Zavrazhye in the Soviet Union.</documents>
So the director of Solaris was born in the Soviet Union.</think>
<answer>the Soviet Union</answer>

Question: Who painted the Night Watch?
<think>I need the painter of the Night Watch. <search>painter of the Night Watch</search>
<documents>The Night Watch is a painting by Rembrandt van Rijn.</documents>
So Rembrandt van Rijn painted it.</think>
<answer>Rembrandt van Rijn</answer>

Question: {question}"""

_DISTILLING = """Read the documents that a search found, and write one sentence with the facts in them that help the \
reasoning go on, between <refine> and </refine>.

Documents: Doc 1(Title: Solaris (1972 film)) Solaris is a film of 1972 directed by Andrei Tarkovsky.
Question: In which country was the director of Solaris born?
Reasoning: I need the director of Solaris first.
Search: director of the film Solaris
<refine>Andrei Tarkovsky directed Solaris.</refine>

Documents: Doc 1(Title: The Night Watch) The Night Watch is a painting of 1642 by Rembrandt van Rijn.
Question: Who painted the Night Watch?
Reasoning: I need the painter of the Night Watch.
Search: painter of the Night Watch
<refine>The Night Watch is a painting by Rembrandt van Rijn.</refine>

Documents: {documents}
Question: {question}
Reasoning: {reasoning}
Search: {query}"""

PROMPTS = {"autorefine": _REASONING, "search_r1": retagged(_REASONING), "plain": f"{_REASONING}\n"}
DISTILLING = {"autorefine": _DISTILLING, "search_r1": _DISTILLING, "plain": f"{_DISTILLING}\n"}


def answer(policy: Policy, retriever: Retriever, questions: Sequence[Question], config: Config) -> list[Episode]:
    """One greedy episode for each question, in order. UserError in the style `tiny`.

    A distillate that no longer fits in `max_response_tokens` ends the reasoning. Where the retriever fails there is no
    answer.
    """
    prompt = prompt_text(PROMPTS, "search_o1", config)
    episodes = [begin(policy, question, prompt, config) for question in questions]
    for turns in sessions(policy, episodes, config):
        turns.inject({row: turns.ids(open_tag(SpanKind.THINK)) for row in turns.rows})
        _reason(turns, retriever)
        answer_opened(turns, [r for r in turns.rows if turns.episodes[r].end is not EndReason.RETRIEVER_FAILED])
    return episodes


def _reason(turns: Turns, retriever: Retriever) -> None:
    """Think, search and distil in turn, all rows that still do at once."""
    rollout, rows = turns.config.rollout, turns.rows
    for number in range(rollout.max_searches + 1):
        rows = [row for row in rows if turns.room(row) > 0]
        caps = [min(rollout.max_turn_tokens, turns.room(row)) for row in rows]
        written = turns.sample(rows, _TURN_ENDS, caps)
        asked = {row: _record(turns, row, turn) for row, turn in written.items()}
        queries = {row: query for row, query in asked.items() if query and number < rollout.max_searches}
        found = turns.search(retriever, queries)
        notes = _distil(turns, queries, found)
        seen = {row: text_observation(turns.policy, note, rollout) for row, note in notes.items()}
        rows = [row for row in found if _show(turns, row, queries[row], found[row], seen[row])]
    turns.close_thought([r for r in turns.rows if turns.episodes[r].end is not EndReason.RETRIEVER_FAILED])


def _record(turns: Turns, row: int, turn: Written) -> str | None:
    """Note the spans of a turn; the query that ended it, or None."""
    action = action_block(turn.text.data)
    end = turn.inner(_TURN_ENDS)[0] if action is None else action.outer_start
    spans = [turn.text.span(Block(SpanKind.THINK, 0, 0, end, end), turn.offset)]
    if action is not None:
        spans.append(turn.text.span(action, turn.offset))
    turns.episodes[row].spans += spans
    return spans[-1].text or None if action is not None else None


def _show(turns: Turns, row: int, query: str, hits: Sequence[Hit], seen: Observation) -> bool:
    """Put a distillate into the reasoning and give the query before it its step. False where there is no room: then it
    was made for no step."""
    spans, place, asides = turns.episodes[row].spans, len(turns.episodes[row].spans) - 1, turns.episodes[row].asides
    if not turns.show(row, query, hits, seen):
        asides[-1] = replace(asides[-1], step=-1)
        return False
    spans[place] = replace(spans[place], step=spans[-1].step)
    return True


def _distil(turns: Turns, queries: Mapping[int, str], found: Mapping[int, Sequence[Hit]]) -> dict[int, str]:
    """What the documents of each row say for its reasoning, written in contexts of their own."""
    if not found:
        return {}
    policy, cap = turns.policy, turns.config.rollout.max_turn_tokens
    prompts = {row: _distilling_prompt(turns, row, queries[row], hits) for row, hits in found.items()}
    session, notes = generate.start(policy, list(prompts.values())), {}
    written = write(policy, session, range(len(prompts)), _DISTILLATE_ENDS, [cap] * len(prompts))
    for (row, prompt), sampled in zip(prompts.items(), written, strict=True):
        episode = turns.episodes[row]
        episode.asides.append(Aside(len(episode.steps), tuple(prompt), tuple(sampled.ids)))
        turn = Written(0, TurnText(policy.pieces, sampled.ids, generate.eos_ids(policy)))
        note = turn.text.data[: turn.inner(_DISTILLATE_ENDS)[0]].decode("utf-8", errors="replace").strip()
        notes[row] = note or _NOTHING
    return notes


def _distilling_prompt(turns: Turns, row: int, query: str, hits: Sequence[Hit]) -> list[int]:
    """The prompt of a distillate, cut on the left to `max_prompt_tokens`; documents and reasoning to
    `max_observation_tokens` each."""
    policy, rollout, episode = turns.policy, turns.config.rollout, turns.episodes[row]
    reasoning = " ".join(span.text for span in episode.spans if span.kind in (SpanKind.THINK, SpanKind.DOCUMENTS))
    slots = {
        "reasoning": policy.encode(reasoning)[-rollout.max_observation_tokens :],
        "query": policy.encode(query),
        "documents": policy.encode(render_hits(hits, rollout.document_template).strip())[
            : rollout.max_observation_tokens
        ],
    }
    opening = turns.ids(open_tag(SpanKind.REFINE))
    prompt = begin(policy, episode.question, DISTILLING[rollout.prompt], turns.config, **slots).prompt_ids
    return [*prompt, *opening][-rollout.max_prompt_tokens :]
