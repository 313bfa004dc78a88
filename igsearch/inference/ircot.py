"""IRCoT (arXiv 2212.10509): every sentence of a chain of thought is the query of the next retrieval.

    documents of the question -> sentence 1 -> documents of sentence 1 -> sentence 2 -> ... -> answer

It ends when a sentence says the answer, or when `rollout.max_searches` retrievals are made, that of the question
included. See `opened` for where an answer ends.

Deviations: passages stay where they were found, between the sentences, so that the context only grows, and the question
is repeated after each block of them; the paper collects them above question and chain and prompts anew. The chain
itself gives the answer, where the paper lets a reader answer from the collected passages. Where a sentence ends stands
in `turns`.
"""

import re
from collections.abc import Sequence

from igsearch.config import Config
from igsearch.inference.opened import answer_opened
from igsearch.inference.turns import SENTENCE_ENDS, THOUGHT_ENDS, Turns, begin, prompt_text, retagged, sessions
from igsearch.policy.base import Policy
from igsearch.records import EndReason, Episode, Question
from igsearch.retrieval.base import Retriever
from igsearch.rollout.prompts import question_ids
from igsearch.rollout.protocol import observation

_SENTENCE_ENDS = re.compile(THOUGHT_ENDS.pattern + b"|" + SENTENCE_ENDS)
_SAYS_THE_ANSWER = re.compile(r"\banswer\s*(?:is\b|:)", re.IGNORECASE)

_EXAMPLES = """Answer the last question. Documents stand between <documents> and </documents>. After them write one \
sentence of reasoning between <think> and </think>: what the documents say about the question, or what is still \
missing. New documents are found with your sentence. When you know the answer, say so in your sentence; then the \
answer itself, in one to five words, stands between <answer> and </answer>.

Question: In which country was the director of Solaris born?
<documents>Doc 1(Title: Solaris (1972 film)) Solaris is a film directed by Andrei Tarkovsky.
</documents>
Question: In which country was the director of Solaris born?
<think>The film Solaris was directed by Andrei Tarkovsky.</think>
<documents>Doc 1(Title: Andrei Tarkovsky) Tarkovsky was born in Zavrazhye in the Soviet Union.
</documents>
Question: In which country was the director of Solaris born?
<think>Andrei Tarkovsky was born in the Soviet Union, so the answer is the Soviet Union.</think>
<answer>the Soviet Union</answer>

Question: Who painted the Night Watch?
<documents>Doc 1(Title: The Night Watch) The Night Watch is a painting of 1642 by Rembrandt van Rijn.
</documents>
Question: Who painted the Night Watch?
<think>Rembrandt van Rijn painted the Night Watch, so the answer is Rembrandt van Rijn.</think>
<answer>Rembrandt van Rijn</answer>

Question: {question}"""

# Documents bring the line break that they begin with.
PROMPTS = {"autorefine": _EXAMPLES, "search_r1": retagged(_EXAMPLES), "plain": _EXAMPLES}


def answer(policy: Policy, retriever: Retriever, questions: Sequence[Question], config: Config) -> list[Episode]:
    """One greedy episode for each question, in order. UserError in the style `tiny`.

    Documents that no longer fit in `max_response_tokens` end the reasoning. Where the retriever fails there is no
    answer.
    """
    prompt = prompt_text(PROMPTS, "ircot", config)
    episodes = [begin(policy, question, prompt, config) for question in questions]
    for turns in sessions(policy, episodes, config):
        _reason(turns, retriever)
        answer_opened(turns, [r for r in turns.rows if turns.episodes[r].end is not EndReason.RETRIEVER_FAILED])
    return episodes


def _reason(turns: Turns, retriever: Retriever) -> None:
    """Retrieve and think in turn, all rows that still do at once."""
    rollout = turns.config.rollout
    queries = {row: turns.episodes[row].question.text for row in turns.rows}
    for _ in range(rollout.max_searches):
        found = turns.search(retriever, queries)
        seen = {row: observation(turns.policy, hits, rollout) for row, hits in found.items()}
        again = {row: _question(turns, row) for row in found}
        fit = [row for row in found if len(seen[row].ids) + len(again[row]) <= turns.room(row)]
        rows = [row for row in fit if turns.show(row, queries[row], found[row], seen[row])]
        turns.inject({row: again[row] for row in rows})
        said = turns.think(rows, _SENTENCE_ENDS, rollout.max_turn_tokens)
        queries = {row: sentence for row, sentence in said.items() if _asks_on(turns.episodes[row], sentence)}


def _question(turns: Turns, row: int) -> list[int]:
    """The question once more, between documents and sentence, where the paper's prompt has it."""
    asked = question_ids(turns.policy, turns.episodes[row].question.text)
    return [*turns.ids("Question: "), *asked, *turns.ids("\n")]


def _asks_on(episode: Episode, sentence: str) -> bool:
    """Whether a sentence is a query: there is one, it does not say the answer, and it repeats no earlier query."""
    asked = {step.query for step in episode.steps}
    return bool(sentence) and _SAYS_THE_ANSWER.search(sentence) is None and sentence not in asked
