"""The question and nothing else: what the policy knows by itself. See `opened` for where an answer ends."""

from collections.abc import Sequence

from igsearch.config import Config
from igsearch.inference.opened import answer_opened
from igsearch.inference.turns import begin, sessions
from igsearch.policy.base import Policy
from igsearch.records import Episode, Question
from igsearch.retrieval.base import Retriever

# The examples keep a small model from answering in sentences.
_EXAMPLES = """Answer the last question. Write only the answer itself, in one to five words.

Question: Who painted the Mona Lisa?
<answer>Leonardo da Vinci</answer>

Question: In which year did the First World War end?
<answer>1918</answer>

Question: What is the capital of the country in which Mozart was born?
<answer>Vienna</answer>

Question: {question}"""

PROMPTS = {
    "tiny": "{question}",
    "tiny_search_r1": "{question}",
    "autorefine": _EXAMPLES,
    "search_r1": _EXAMPLES,
    "plain": f"{_EXAMPLES}\n",
}


def answer(policy: Policy, retriever: Retriever, questions: Sequence[Question], config: Config) -> list[Episode]:
    """One greedy episode for each question, in order. The retriever is not asked."""
    episodes = [asked(policy, question, config) for question in questions]
    for turns in sessions(policy, episodes, config):
        answer_opened(turns, turns.rows)
    return episodes


def asked(policy: Policy, question: Question, config: Config) -> Episode:
    """The episode before its answer."""
    return begin(policy, question, PROMPTS[config.rollout.prompt], config)
