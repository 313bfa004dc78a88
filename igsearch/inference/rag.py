"""Retrieve once with the question, read, answer. See `opened` for where an answer ends."""

from collections.abc import Sequence

from igsearch.config import Config
from igsearch.inference.opened import answer_opened
from igsearch.inference.turns import begin, sessions
from igsearch.policy.base import Policy
from igsearch.records import EndReason, Episode, Hit, Question
from igsearch.retrieval.base import Retriever
from igsearch.rollout.environment import add_step, search_each
from igsearch.rollout.protocol import render_hits

# The examples keep a small model from answering in sentences.
_EXAMPLES = """{documents}
Answer the last question from the documents above. Write only the answer itself, in one to five words.

Question: Who painted the Mona Lisa?
<answer>Leonardo da Vinci</answer>

Question: In which year did the First World War end?
<answer>1918</answer>

Question: {question}"""

PROMPTS = {
    # The tiny policy reads documents only after a search, so it is shown one for the question.
    "tiny": "{question}<search>{question}</search><documents>{documents}</documents>",
    "tiny_search_r1": "{question}<search>{question}</search><information>{documents}</information>",
    "autorefine": _EXAMPLES,
    "search_r1": _EXAMPLES,
    "plain": f"{_EXAMPLES}\n",
}


def answer(policy: Policy, retriever: Retriever, questions: Sequence[Question], config: Config) -> list[Episode]:
    """One greedy episode for each question, in order, with one search step; the documents stand in the prompt.

    Their text is cut on the right to `max_observation_tokens`. Where the retriever fails there is no answer.
    """
    found = search_each(retriever, [question.text for question in questions], config.retrieval.k)
    episodes = [_asked(policy, *pair, config) for pair in zip(questions, found, strict=True)]
    for turns in sessions(policy, episodes, config):
        answer_opened(turns, turns.rows)
    return episodes


def _asked(policy: Policy, question: Question, hits: list[Hit] | None, config: Config) -> Episode:
    rollout = config.rollout
    documents = policy.encode(render_hits(hits or [], rollout.document_template))[: rollout.max_observation_tokens]
    episode = begin(policy, question, PROMPTS[rollout.prompt], config, documents=documents)
    if hits is None:
        episode.end = EndReason.RETRIEVER_FAILED
    else:
        add_step(episode, question.text, hits)
    return episode
