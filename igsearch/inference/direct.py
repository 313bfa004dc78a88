"""The question and nothing else: what the policy knows by itself. See `opened` for where an answer ends."""

from collections.abc import Sequence

from igsearch.config import Config
from igsearch.inference.opened import answer_opened
from igsearch.policy.base import Policy
from igsearch.records import Episode, Question
from igsearch.retrieval.base import Retriever
from igsearch.rollout.prompts import message_ids, question_ids

PROMPTS = {
    "tiny": "{question}",
    "autorefine": """Answer the question with a name, a date or a few words, and nothing else.

Question: {question}""",
}


def answer(policy: Policy, retriever: Retriever, questions: Sequence[Question], config: Config) -> list[Episode]:
    """One greedy episode for each question, in order. The retriever is not asked."""
    episodes = [Episode(question, 0, _prompt(policy, question, config)) for question in questions]
    answer_opened(policy, episodes, config.evaluation.max_answer_tokens, config.rollout.batch_size)
    return episodes


def _prompt(policy: Policy, question: Question, config: Config) -> list[int]:
    values = {"question": question_ids(policy, question.text)}
    return message_ids(policy, PROMPTS[config.rollout.prompt], values)[-config.rollout.max_prompt_tokens :]
