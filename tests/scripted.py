"""Policies whose tags are single tokens or are split and straddled, a scripted session and a small retriever."""

from collections.abc import Sequence

from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from igsearch.config import PolicyConfig, RolloutConfig
from igsearch.policy import load, tiny
from igsearch.policy.base import Policy, Sampled, StopRule
from igsearch.records import Episode, Hit, Passage, Question
from igsearch.retrieval.base import Retriever, RetrieverError
from igsearch.rollout.environment import Loop
from igsearch.rollout.prompts import prompt_ids, trusted_ids

WORDS = ["who", "wrote", "where", "was", "born", "in", "by", "is", "the", "fail", "?", "."]
STEMS, SUFFIXES = ["kar", "mel", "tor", "bal"], ["vik", "don", "ras"]
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SIZES = PolicyConfig(hidden=16, intermediate=16, layers=1, heads=2)
STRADDLED = "<search> who wrote karvik?</search> <answer>karvik.</answer> <refine> karvik is melras.</refine>\n"


def tiny_policy() -> Policy:
    """A real, untrained tiny policy: every tag is one special token."""
    return tiny.build(WORDS, STEMS, SUFFIXES, SIZES)


def bpe_policy() -> Policy:
    """An untrained policy with byte-level BPE and ChatML, in which tags are split and `?</` is one token."""
    backend = Tokenizer(BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator([STRADDLED] * 50, trainer)
    backend.add_special_tokens([AddedToken(token, special=True) for token in ("<|im_start|>", "<|im_end|>")])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>", chat_template=CHATML)
    return _untrained(tokenizer, "bpe")


def smollm2_tokenized() -> Policy:
    """An untrained policy with the tokenizer of SmolLM2. UserError where its package is not installed."""
    return _untrained(load._tokenizer(load.smollm2_directory()), "smollm2 tokenizer")


def _untrained(tokenizer: PreTrainedTokenizerFast, name: str) -> Policy:
    model = tiny._model(SIZES, len(tokenizer), 0, tokenizer.eos_token_id)
    return Policy(model=model, tokenizer=tokenizer, name=name)


def settings(policy: Policy, **changes: object) -> RolloutConfig:
    """A roomy configuration in the prompt style of the policy."""
    base = {
        "prompt": "tiny" if policy.name == "tiny" else "autorefine",
        "max_searches": 2,
        "max_turn_tokens": 200,
        "max_observation_tokens": 400,
        "max_response_tokens": 3000,
        "max_prompt_tokens": 4000,
    }
    return RolloutConfig.model_validate({**base, **changes})


class Scripted:
    """A session in which the policy writes what a script says, one entry a turn, and obeys stop rule and caps."""

    def __init__(self, scripts: Sequence[Sequence[Sequence[int]]]) -> None:
        self.scripts = [list(script) for script in scripts]
        self.appended: list[tuple[list[int], list[list[int]]]] = []
        self.dropped: list[int] = []
        self.seeds: list[list[int] | None] = []

    def generate(
        self,
        rows: Sequence[int],
        stop: StopRule,
        max_new_tokens: Sequence[int],
        seeds: Sequence[int] | None,
        temperature: float,
    ) -> list[Sampled]:
        assert not set(rows) & set(self.dropped)
        self.seeds.append(None if seeds is None else list(seeds))
        return [self._turn(row, stop, cap) for row, cap in zip(rows, max_new_tokens, strict=True)]

    def _turn(self, row: int, stop: StopRule, cap: int) -> Sampled:
        assert cap > 0
        ids: list[int] = []
        for token_id in self.scripts[row].pop(0)[:cap]:
            ids.append(token_id)
            if stop(row, token_id):
                break
        return Sampled(ids, [-0.5] * len(ids))

    def append(self, rows: Sequence[int], ids: Sequence[Sequence[int]]) -> None:
        assert all(ids)
        self.appended.append((list(rows), [list(row) for row in ids]))

    def drop(self, rows: Sequence[int]) -> None:
        self.dropped += rows


class Shelf:
    """A retriever that finds the passages whose id begins with a word of the query, and fails on the word `fail`."""

    def __init__(self, **passages: str) -> None:
        self.passages = [Passage(name, name, text) for name, text in passages.items()]
        self.calls: list[list[str]] = []

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        self.calls.append(list(queries))
        if any("fail" in query for query in queries):
            rows = [None if "fail" in query else self._one(query.split())[:k] for query in queries]
            raise RetrieverError("the shelf is broken", rows)
        return [self._one(query.split())[:k] for query in queries]

    def _one(self, words: Sequence[str]) -> list[Hit]:
        return [Hit(p, 1.0) for p in self.passages if any(p.id.startswith(word.strip("?.")) for word in words)]


def question(name: str = "one", text: str = "who wrote karvik") -> Question:
    """A question with the answer `meldon`."""
    return Question(name, "nq", text, ("meldon",))


def play(
    policy: Policy, scripts: Sequence[Sequence[str]], retriever: Retriever, k: int = 1, **changes: object
) -> list[Episode]:
    """Episodes in which the policy writes the turns of `scripts` (one script a row), whatever it is told."""
    config = settings(policy, **changes)
    asked = [question(str(row)) for row in range(len(scripts))]
    episodes = [Episode(q, 0, prompt_ids(policy, q.text, config)) for q in asked]
    session = Scripted([[trusted_ids(policy, turn) for turn in script] for script in scripts])
    Loop(policy, session, retriever, episodes, config, k, None).run()
    return episodes
