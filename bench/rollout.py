"""Tokens per CPU second of the batched multi-turn decoder against Hugging Face `generate` called turn by turn.

Both get the same model (random weights, fp32), the same prompts and the same documents after each turn, and decode
greedily, 64 rows at once. A turn ends after a number of tokens that is fixed for each row and turn, or with EOS; after
its last turn a row is not given to either any more. Written tokens have to be the same, every one.

- ours: one session of igsearch.policy.generate. Its cache lives as long as the batch, a row that has ended its turn is
  not computed until the next one, documents are read once.
- generate: as one would write it without that: contexts padded on the left, `generate` for each turn with its own
  key/value cache, and a stopping criterion that tells for each row, in one comparison of tensors, whether its turn has
  ended. It reads the whole context anew each turn, and a row that has ended waits for the others.

Two shapes: that of the embedded benchmark (its tiny policy and the usual lengths of its rollouts), where most of the
time goes to the calls of small operations; and a larger policy with longer documents, where it goes to arithmetic.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from harness import Report, main, over_shapes, paired, ratio

from igsearch.config import PolicyConfig
from igsearch.policy import generate, tiny
from igsearch.policy.base import Policy
from igsearch.seeds import generator

WANTED = 1.4
Range = tuple[int, int]  # least and most


@dataclass(frozen=True)
class Shape:
    """Sizes of a model and of its rollouts. Lengths in tokens; each is drawn evenly from its range.

    passes: how often the batch is decoded in a measured round. Rounds of less than a tenth of a second scatter widely.
    """

    hidden: int
    layers: int
    heads: int
    intermediate: int
    words: int
    rows: int
    prompt: Range
    documents: Range
    turn: Range
    turns: Range
    passes: int = 1

    def policy(self) -> Policy:
        """An untrained policy with a lexicon of so many words."""
        sizes = PolicyConfig(
            hidden=self.hidden, layers=self.layers, heads=self.heads, intermediate=self.intermediate, seed=0
        )
        return tiny.build([f"word{number}" for number in range(self.words)], ["kar"], ["vik"], sizes)

    def __str__(self) -> str:
        lengths = {"prompt": self.prompt, "documents": self.documents, "turn": self.turn, "turns": self.turns}
        spans = ", ".join(f"{name} {least}-{most}" for name, (least, most) in lengths.items())
        model = (
            f"Qwen2 hidden {self.hidden}, {self.layers} layers, intermediate {self.intermediate}, {self.words} words"
        )
        return f"({model}; {self.rows} rows, {spans}; {self.passes} passes a round)"


EMBEDDED = Shape(64, 2, 4, 128, 160, 64, (8, 16), (10, 14), (5, 10), (1, 4), passes=10)
LARGER = Shape(512, 3, 8, 1024, 4000, 64, (90, 110), (180, 220), (12, 28), (3, 3))
SMALL = Shape(64, 2, 4, 128, 400, 16, (40, 60), (60, 80), (6, 14), (2, 3))


@dataclass(frozen=True)
class Script:
    """What happens to a batch whatever is written: prompts, the length of each turn, the documents after each turn."""

    prompts: list[list[int]]
    lengths: list[list[int]]
    documents: list[list[list[int]]]


Written = list[list[list[int]]]  # the ids of each turn of each row


def script(shape: Shape, vocabulary: int) -> Script:
    """Random ids and lengths, the same at each call."""
    random = generator("bench", "rollout")

    def draw(span: Range) -> int:
        return int(random.integers(span[0], span[1] + 1))

    def ids(span: Range) -> list[int]:
        return [int(number) for number in random.integers(0, vocabulary, draw(span))]

    turns = [draw(shape.turns) for _ in range(shape.rows)]
    return Script(
        prompts=[ids(shape.prompt) for _ in turns],
        lengths=[[draw(shape.turn) for _ in range(count)] for count in turns],
        documents=[[ids(shape.documents) for _ in range(count - 1)] for count in turns],
    )


def _turns(given: Script) -> list[list[int]]:
    """The rows that write in each turn."""
    most = max(map(len, given.lengths))
    return [[row for row, lengths in enumerate(given.lengths) if turn < len(lengths)] for turn in range(most)]


def ours(policy: Policy, given: Script) -> Written:
    """One session for all turns."""
    written: Written = [[] for _ in given.prompts]
    session = generate.start(policy, given.prompts)
    rows: list[int] = []
    for turn, live in enumerate(_turns(given)):
        if turn:
            session.drop([row for row in rows if row not in set(live)])
            session.append(live, [given.documents[row][turn - 1] for row in live])
        rows = live
        left = {row: given.lengths[row][turn] for row in rows}

        def ends(row: int, token: int, left: dict[int, int] = left) -> bool:
            left[row] -= 1
            return not left[row]

        for row, wrote in zip(rows, session.generate(rows, ends, [1024] * len(rows), None, 1.0), strict=True):
            written[row].append(wrote.ids)
    return written


class EndOfTurn:
    """A stopping criterion of `generate`: each row after its own number of new tokens."""

    def __init__(self, lengths: Sequence[int], width: int) -> None:
        self.ends_B = torch.tensor(lengths) + width

    def __call__(self, ids_BT: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Whether each row's turn has ended."""
        return ids_BT.shape[1] >= self.ends_B


def turn_by_turn(policy: Policy, given: Script) -> Written:
    """`generate` with the whole context, for each turn."""
    eos = sorted(generate.eos_ids(policy))
    contexts = [list(prompt) for prompt in given.prompts]
    written: Written = [[] for _ in contexts]
    for turn, rows in enumerate(_turns(given)):
        for row in rows if turn else []:
            contexts[row] += given.documents[row][turn - 1]
        lengths = [given.lengths[row][turn] for row in rows]
        for row, ids in zip(rows, _generate(policy, [contexts[row] for row in rows], lengths, eos), strict=True):
            written[row].append(ids)
            contexts[row] += ids
    return written


@torch.inference_mode()
def _generate(
    policy: Policy, contexts: Sequence[Sequence[int]], lengths: Sequence[int], eos: Sequence[int]
) -> list[list[int]]:
    width, pad = max(map(len, contexts)), policy.tokenizer.pad_token_id
    blank = [width - len(context) for context in contexts]
    ids_BT = policy.model.generate(
        input_ids=torch.tensor([[pad] * few + list(context) for few, context in zip(blank, contexts, strict=True)]),
        attention_mask=torch.tensor([[0] * few + [1] * (width - few) for few in blank]),
        do_sample=False,
        max_new_tokens=max(lengths),
        stopping_criteria=[EndOfTurn(lengths, width)],
        eos_token_id=list(eos),
        pad_token_id=pad,
    )
    return [_until(row[width : width + length], eos) for row, length in zip(ids_BT.tolist(), lengths, strict=True)]


def _until(ids: Sequence[int], eos: Sequence[int]) -> list[int]:
    """The ids up to the first EOS, which is kept."""
    first = next((place for place, token in enumerate(ids) if token in eos), len(ids))
    return list(ids[: first + 1])


def differences(one: Written, other: Written) -> list[str]:
    """Every turn of which the two do not have the same ids, in words."""
    return [
        f"row {row}, turn {turn}: {ids} and {others}"
        for row, (turns, other_turns) in enumerate(zip(one, other, strict=True))
        for turn, (ids, others) in enumerate(zip(turns, other_turns, strict=True))
        if ids != others
    ]


def compare(name: str, shape: Shape, repeats: int, report: Report) -> None:
    """Add one shape to the report."""
    policy = shape.policy()
    given = script(shape, len(policy.tokenizer))
    written = ours(policy, given)
    differing = differences(written, turn_by_turn(policy, given))
    report.differences[f"turns written otherwise, {name}"] = float(len(differing))
    report.notes += [f"{name}, first turn written otherwise: {each}" for each in differing[:1]]
    ways: dict[str, Callable[[], list[Written]]] = {
        "generate": lambda: [turn_by_turn(policy, given) for _ in range(shape.passes)],
        "ours": lambda: [ours(policy, given) for _ in range(shape.passes)],
    }
    seconds = paired(ways, repeats)
    tokens = shape.passes * sum(len(ids) for turns in written for ids in turns)
    for way, taken in seconds.items():
        report.figures[f"tokens per CPU second, {name}, {way}"] = round(tokens / median(taken), 1)
    report.ratios.append(ratio(name, seconds, "generate", "ours", at_least=WANTED))


def row(quick: bool, repeats: int) -> Report:
    """Both shapes."""
    shapes = {"embedded": EMBEDDED, "small": SMALL} if quick else {"embedded": EMBEDDED, "larger": LARGER}
    return over_shapes("rollout", shapes, compare, repeats)


if __name__ == "__main__":
    main(row)
