"""What the policy is told, and how it becomes token ids.

*Trusted* text is ours: its tags and chat markers become special tokens where the tokenizer has such. Questions and
passages are *untrusted*: `Policy.encode` makes plain tokens of whatever they contain, so that a question with
`<|im_end|>` in it stays inside the user's message. The two are encoded apart and joined as ids.

`autorefine` describes AutoRefine's cycle (arXiv 2505.11277) in our own words, as a chat message. `plain` shows the same
cycle by examples to be continued, without the chat template: SmolLM2-135M-Instruct, told as a chat what to do, does not
search, but begins with a search when it continues examples. The tiny policy knows neither English nor chat: its prompt
is the question alone. `search_r1` and `tiny_search_r1` are the protocol of Search-R1 (arXiv 2503.09516), in our words:
passages stand in information tags, and nothing is refined.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from igsearch.config import RolloutConfig
from igsearch.policy.base import Policy

_SLOT = re.compile(r"\[\[slot:(\w+)\]\]")


@dataclass(frozen=True, slots=True)
class Style:
    """The fixed texts of a prompt style: `{question}` is a slot of `agent` and `reflection`, the others have none.

    `chat` puts prompts through the tokenizer's chat template, where it has one. `forced_answer` is what turns any state
    of a rollout into the beginning of an answer: it ends the reasoning and opens the answer tag.
    `reflection` asks for another attempt after an answer.
    """

    chat: bool
    agent: str
    documents_open: str
    documents_close: str
    correction: str
    reflection: str
    forced_answer: str


_AGENT = """Answer the question at the end by searching an encyclopedia. Mark everything you write with tags.

First reason about what you know and what is missing: <think> your reasoning </think>
Then ask for the missing fact with a short query: <search> your query </search>
The system replies with passages between <documents> and </documents>; never write these yourself.
Then keep what matters for the question: <refine> the useful facts </refine>
Search again whenever a fact is still missing. As soon as you know enough, finish with the answer alone, \
in a few words: <answer> your answer </answer>

Example
Question: In which country was the director of Solaris born?
<think> I need the director of Solaris first. </think>
<search> director of the film Solaris </search>
<documents>Doc 1(Title: Solaris (1972 film)) Solaris is a film directed by Andrei Tarkovsky.</documents>
<refine> Andrei Tarkovsky directed Solaris. </refine>
<search> Andrei Tarkovsky birthplace </search>
<documents>Doc 1(Title: Andrei Tarkovsky) Tarkovsky was born in Zavrazhye in the Soviet Union.</documents>
<refine> Tarkovsky was born in the Soviet Union. </refine>
<answer> the Soviet Union </answer>

Question: {question}"""

_PLAIN = """Questions are answered by searching an encyclopedia. A query stands between <search> and </search>, the \
documents it finds between <documents> and </documents>, what is useful in them between <refine> and </refine>, and \
the answer between <answer> and </answer>.

Question: In which country was the director of Solaris born?
<search> director of the film Solaris </search>
<documents>Doc 1(Title: Solaris (1972 film)) Solaris is a film directed by Andrei Tarkovsky.
</documents>
<refine> Andrei Tarkovsky directed Solaris. </refine>
<search> Andrei Tarkovsky birthplace </search>
<documents>Doc 1(Title: Andrei Tarkovsky) Tarkovsky was born in Zavrazhye in the Soviet Union.
</documents>
<refine> Tarkovsky was born in the Soviet Union. </refine>
<answer> the Soviet Union </answer>

Question: Who painted the Night Watch?
<search> painter of the Night Watch </search>
<documents>Doc 1(Title: The Night Watch) The Night Watch is a painting of 1642 by Rembrandt van Rijn.
</documents>
<refine> Rembrandt painted it in 1642. </refine>
<answer> Rembrandt van Rijn </answer>

Question: {question}
"""

_PLAIN_REFLECTION = """
<think> That may be wrong or incomplete. I search for what confirms or corrects it and then answer again. </think>
"""

_PLAIN_CORRECTION = "\n<think> I have to write a search or the answer now. </think>\n"

_FORCED_ANSWER = "<think> That is enough information to answer the question now. </think>\n<answer>"

_CORRECTION = """
That holds no complete search and no complete answer. Write <search> query </search> to look something up, or \
<answer> answer </answer> to finish.
"""

_REFLECTION = """Look back at your answer before it counts. Which of its steps does no passage support, and what has \
not been looked up yet? Take another attempt at the same question: search for what could confirm or correct the \
answer, then give the one you now hold best, changed or not. The tags are the same: <think> reasoning </think>, \
<search> query </search>, <refine> the useful facts </refine>, and at the end <answer> answer </answer>."""

_SEARCH_R1 = """Answer the question at the end by searching an encyclopedia. Mark everything you write with tags.

Whenever something new is known, reason about it first: <think> your reasoning </think>
If a fact is missing, ask for it with a short query: <search> your query </search>
The system replies with passages between <information> and </information>; never write these yourself.
Search as often as you need. As soon as you know enough, finish with the answer alone, in a few words: \
<answer> your answer </answer>

Example
Question: In which country was the director of Solaris born?
<think> I need the director of Solaris first. </think>
<search> director of the film Solaris </search>
<information>Doc 1(Title: Solaris (1972 film)) Solaris is a film directed by Andrei Tarkovsky.</information>
<think> Andrei Tarkovsky directed it. Where was he born? </think>
<search> Andrei Tarkovsky birthplace </search>
<information>Doc 1(Title: Andrei Tarkovsky) Tarkovsky was born in Zavrazhye in the Soviet Union.</information>
<think> He was born in the Soviet Union. </think>
<answer> the Soviet Union </answer>

Question: {question}"""

_SEARCH_R1_REFLECTION = _REFLECTION.replace("<refine> the useful facts </refine>, ", "")

STYLES: Mapping[str, Style] = {
    # The tiny vocabulary has neither line breaks nor the words of a correction: an invalid turn simply goes on.
    "tiny": Style(
        chat=False,
        agent="{question}",
        documents_open="<documents>",
        documents_close="</documents>",
        correction="",
        reflection="<reflect>{question}",
        forced_answer="<answer>",
    ),
    "tiny_search_r1": Style(
        chat=False,
        agent="{question}",
        documents_open="<information>",
        documents_close="</information>",
        correction="",
        reflection="<reflect>{question}",
        forced_answer="<answer>",
    ),
    "autorefine": Style(
        chat=True,
        agent=_AGENT,
        documents_open="\n\n<documents>",
        documents_close="</documents>\n\n",
        correction=_CORRECTION,
        reflection=_REFLECTION,
        forced_answer=_FORCED_ANSWER,
    ),
    "search_r1": Style(
        chat=True,
        agent=_SEARCH_R1,
        documents_open="\n\n<information>",
        documents_close="</information>\n\n",
        correction=_CORRECTION,
        reflection=_SEARCH_R1_REFLECTION,
        forced_answer=_FORCED_ANSWER,
    ),
    "plain": Style(
        chat=False,
        agent=_PLAIN,
        # One line break, not two: GPT-2's pre-tokenizer reads two at the end of a text otherwise than before a tag.
        documents_open="\n<documents>",
        documents_close="</documents>\n",
        correction=_PLAIN_CORRECTION,
        reflection=_PLAIN_REFLECTION,
        forced_answer=_FORCED_ANSWER,
    ),
}


def trusted_ids(policy: Policy, text: str) -> list[int]:
    """Ids of text that is ours: tags and chat markers become single tokens where the tokenizer has them."""
    return list(policy.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=False)) if text else []


def question_text(policy: Policy, text: str) -> str:
    """The question stripped, with a "?" at its end where the tokenizer knows that character."""
    stripped = text.strip()
    known = policy.tokenizer.convert_tokens_to_ids("?") not in (None, policy.tokenizer.unk_token_id)
    return f"{stripped}?" if known and not stripped.endswith("?") else stripped


def _conversation(policy: Policy, message: str) -> str:
    """The message as the single user message of the tokenizer's chat template."""
    turns = [{"role": "user", "content": message}]
    return str(policy.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


def _first_ids(policy: Policy) -> list[int]:
    """The beginning-of-sequence token where the tokenizer asks for one."""
    bos = policy.tokenizer.bos_token_id
    return [bos] if bos is not None and policy.tokenizer.encode("")[:1] == [bos] else []


def message_ids(policy: Policy, message: str, values: Mapping[str, Sequence[int]], chat: bool) -> list[int]:
    """Ids of a message in which each `{name}` slot holds the ids of an untrusted text, encoded apart.

    With `chat` the message is what the user says to the tokenizer's chat template; where there is none, as without
    `chat`, it stands as it is after the beginning-of-sequence token, if any.
    """
    slotted = _slotted(message, values)
    if chat and policy.tokenizer.chat_template:
        return _fill(policy, _conversation(policy, slotted), values)
    return [*_first_ids(policy), *_fill(policy, slotted, values)]


def _slotted(text: str, names: Iterable[str]) -> str:
    """`text` with places for untrusted texts that no chat template changes."""
    for name in names:
        text = text.replace(f"{{{name}}}", f"[[slot:{name}]]")
    return text


def _fill(policy: Policy, slotted: str, values: Mapping[str, Sequence[int]]) -> list[int]:
    """The ids of trusted text, and in its places those of `values`."""
    parts = enumerate(_SLOT.split(slotted))
    return [i for place, part in parts for i in (values[part] if place % 2 else trusted_ids(policy, part))]


def question_ids(policy: Policy, text: str) -> list[int]:
    """The ids of `question_text`."""
    return policy.encode(question_text(policy, text))


def prompt_ids(policy: Policy, question: str, config: RolloutConfig) -> list[int]:
    """The prompt of the search agent, cut on the left to `max_prompt_tokens`."""
    style = STYLES[config.prompt]
    values = {"question": question_ids(policy, question)}
    return message_ids(policy, style.agent, values, style.chat)[-config.max_prompt_tokens :]


_ANSWERED = "[[answered]]"


def reflection_ids(policy: Policy, question: str, config: RolloutConfig) -> list[int]:
    """What stands between two attempts: in a chat the end of the assistant's message and another one of the user."""
    style, values = STYLES[config.prompt], {"question": question_ids(policy, question)}
    text = _slotted(style.reflection, values)
    if style.chat and policy.tokenizer.chat_template:
        turns = [("user", "?"), ("assistant", _ANSWERED), ("user", text)]
        messages = [{"role": role, "content": content} for role, content in turns]
        conversation = policy.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return _fill(policy, str(conversation).rpartition(_ANSWERED)[2], values)
    return _fill(policy, f"\n\n{text}\n\n" if style.chat else text, values)
