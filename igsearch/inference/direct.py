"""The question and nothing else: what the policy knows by itself. See `opened` for where an answer ends."""

from collections.abc import Sequence

from igsearch.config import Config
from igsearch.inference.opened import answer_opened
from igsearch.policy.base import Policy
from igsearch.records import Episode, Question
from igsearch.retrieval.base import Retriever
from igsearch.rollout.prompts import STYLES, message_ids, question_ids

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
    "autorefine": _EXAMPLES,
    "plain": f"{_EXAMPLES}\n",
}


def answer(policy: Policy, retriever: Retriever, questions: Sequence[Question], config: Config) -> list[Episode]:
    """One greedy episode for each question, in order. The retriever is not asked."""
    episodes = [Episode(question, 0, _prompt(policy, question, config)) for question in questions]
    answer_opened(policy, episodes, config.evaluation.max_answer_tokens, config.rollout.batch_size)
    return episodes


def _prompt(policy: Policy, question: Question, config: Config) -> list[int]:
    style, values = config.rollout.prompt, {"question": question_ids(policy, question.text)}
    return message_ids(policy, PROMPTS[style], values, STYLES[style].chat)[-config.rollout.max_prompt_tokens :]
