"""Think step by step, then answer; nothing is searched (chain of thought, arXiv 2201.11903).

One thought of at most `rollout.max_turn_tokens`, then the answer. See `opened` for where an answer ends.
"""

from collections.abc import Sequence

from igsearch.config import Config
from igsearch.inference.opened import answer_opened
from igsearch.inference.turns import THOUGHT_ENDS, begin, prompt_text, sessions
from igsearch.policy.base import Policy
from igsearch.records import Episode, Question
from igsearch.retrieval.base import Retriever

_EXAMPLES = """Answer the last question. First think step by step between <think> and </think>. Then write only the \
answer itself, in one to five words, between <answer> and </answer>.

Question: In which country was the director of Solaris born?
<think>The film Solaris was directed by Andrei Tarkovsky. Andrei Tarkovsky was born in the Soviet Union.</think>
<answer>the Soviet Union</answer>

Question: Who was born first, Mozart or Beethoven?
<think>Mozart was born in 1756. Beethoven was born in 1770. The earlier year is 1756.</think>
<answer>Mozart</answer>

Question: Who painted the Night Watch?
<think>The Night Watch is a painting of 1642 by Rembrandt van Rijn.</think>
<answer>Rembrandt van Rijn</answer>

Question: {question}"""

PROMPTS = {"autorefine": _EXAMPLES, "search_r1": _EXAMPLES, "plain": f"{_EXAMPLES}\n"}


def answer(policy: Policy, retriever: Retriever, questions: Sequence[Question], config: Config) -> list[Episode]:
    """One greedy episode for each question, in order. The retriever is not asked. UserError in the style `tiny`."""
    prompt = prompt_text(PROMPTS, "cot", config)
    episodes = [begin(policy, question, prompt, config) for question in questions]
    for turns in sessions(policy, episodes, config):
        turns.think(turns.rows, THOUGHT_ENDS, config.rollout.max_turn_tokens)
        answer_opened(turns, turns.rows)
    return episodes
