"""Information gain's contexts scored with shared beginnings, against one padded row per context.

Both get the same (context, answer) rows, as a rollout with T search steps gives them: for each step the real context
and N with other documents and refine block in the same place. The reference is the layout of the released scorer
without needless work: rows sorted by length, padded on the left, 8 to a pass, logits at the answer's positions alone.
Equal rows are taken out before both. The bound is the ratio of the padded tokens that the reference reads to those that
the shared form really computes: 0.9 of it is wanted, and what is above 1.1 of it comes from attention, which the token
count leaves out. Weights are random; no value depends on what the tokens mean.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from harness import Report, main, over_shapes, paired, ratio
from transformers import Qwen2Config, Qwen2ForCausalLM

from igsearch.policy.base import Policy
from igsearch.policy.score import score
from igsearch.policy.shared import score_shared, tokens_read

Row = tuple[tuple[int, ...], tuple[int, ...]]
VOCABULARY = 4096
REFERENCE_ROWS = 8
LEAST_BUDGET = 2048  # padded tokens of a pass: with fewer, a tiny model spends its time on the calls, not in them


@dataclass(frozen=True)
class Shape:
    """Tokens of each part of a rollout, N (`draws`), and how many rollouts with how many searches.

    model: hidden size, layers, heads, key-value heads, intermediate size.
    """

    prompt: int
    query: int
    documents: int
    refine: int
    answer: int
    draws: int
    rollouts: int
    group: int
    steps: int
    model: tuple[int, int, int, int, int]


LARGE = Shape(100, 10, 200, 40, 5, 3, 2, 1, 4, (512, 3, 8, 2, 1376))
EMBEDDED = Shape(20, 8, 14, 8, 3, 3, 96, 8, 4, (64, 2, 4, 4, 128))
OPENING = 3


def model_of(shape: Shape) -> Policy:
    """A Qwen2 with random weights and no tokenizer."""
    torch.manual_seed(0)
    hidden, layers, heads, kv_heads, intermediate = shape.model
    config = Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=kv_heads, intermediate_size=intermediate, max_position_embeddings=4096,
    )  # fmt: skip
    return Policy(Qwen2ForCausalLM(config).eval(), None, "random weights")


def rows_of(shape: Shape) -> list[Row]:
    """The rows of all rollouts, `group` of them to a question, each with `steps` searches."""
    draw = random.Random(7)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(1, VOCABULARY) for _ in range(count))

    opening, rows, prompt, answer = ids(OPENING), [], (), ()
    for number in range(shape.rollouts):
        if number % shape.group == 0:
            prompt, answer = ids(shape.prompt), ids(shape.answer)
        context = prompt
        for _ in range(shape.steps):
            context += ids(shape.query)
            outcomes = [ids(shape.documents + shape.refine) for _ in range(1 + shape.draws)]
            rows += [(context + outcome + opening, answer) for outcome in outcomes]
            context += outcomes[0]
    return rows


@torch.no_grad()
def reference(policy: Policy, rows: Sequence[Row]) -> list[torch.Tensor]:
    """One row per context: left-padded, 8 to a pass, longest first, logits at the answer alone."""
    found: dict[Row, torch.Tensor] = {}
    order = sorted(dict.fromkeys(rows), key=lambda row: -len(row[0]) - len(row[1]))
    for begin in range(0, len(order), REFERENCE_ROWS):
        batch = order[begin : begin + REFERENCE_ROWS]
        read = [[*context, *answer][:-1] for context, answer in batch]
        width, depth = max(map(len, read)), max(len(answer) for _, answer in batch)
        ids_BT = torch.tensor([[0] * (width - len(ids)) + ids for ids in read])
        mask_BT = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in read])
        positions_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)
        logits_BMV = policy.model(
            input_ids=ids_BT, attention_mask=mask_BT, position_ids=positions_BT, use_cache=False, logits_to_keep=depth
        ).logits
        for row, logits_MV in zip(batch, logits_BMV, strict=True):
            answer = torch.tensor(row[1])
            found[row] = logits_MV[-len(answer) :].log_softmax(-1).gather(-1, answer[:, None])[:, 0]
    return [found[row] for row in rows]


def padded_tokens(rows: Sequence[Row]) -> int:
    """What `reference` reads, padding included."""
    lengths = sorted((len(context) + len(answer) - 1 for context, answer in dict.fromkeys(rows)), reverse=True)
    batches = [lengths[i : i + REFERENCE_ROWS] for i in range(0, len(lengths), REFERENCE_ROWS)]
    return sum(len(batch) * batch[0] for batch in batches)


def ways(policy: Policy, rows: Sequence[Row], budget: int) -> dict[str, Callable[[], list[torch.Tensor]]]:
    """The layouts that are compared."""
    contexts, answers = [row[0] for row in rows], [row[1] for row in rows]
    return {
        "padded rows": lambda: reference(policy, rows),
        "plain rows": lambda: score(policy, contexts, answers, 64),
        "shared beginnings": lambda: score_shared(policy, contexts, answers, budget),
    }


def difference(found: dict[str, list[torch.Tensor]]) -> float:
    """The largest difference of any log-probability between any two ways."""
    first, *others = found.values()
    return max(float((a - b).abs().max()) for other in others for a, b in zip(first, other, strict=True))


def compare(name: str, shape: Shape, repeats: int, report: Report) -> None:
    """One shape: equality, then the ratios."""
    policy, rows = model_of(shape), rows_of(shape)
    budget = max(LEAST_BUDGET, REFERENCE_ROWS * max(len(context) for context, _ in rows) // 2)
    compared = ways(policy, rows, budget)
    report.differences[name] = difference({way: run() for way, run in compared.items()})
    read, padded = tokens_read([r[0] for r in rows], [r[1] for r in rows]), padded_tokens(rows)
    seconds = paired(compared, repeats)
    bound = padded / read
    found = ratio(name, seconds, "padded rows", "shared beginnings", 0.9 * bound)
    report.ratios += [found, ratio(f"{name}, our plain rows", seconds, "plain rows", "shared beginnings")]
    report.figures[f"{name}: padded / read tokens"] = f"{padded} / {read} = {bound:.2f}"
    report.figures[f"{name}: of that reached"] = f"{found.median / bound:.2f}"


def row(quick: bool, repeats: int) -> Report:
    """Both shapes with one to four searches; with --quick the embedded one with one and two."""
    bases = {"embedded": replace(EMBEDDED, rollouts=16)} if quick else {"paper-like": LARGE, "embedded": EMBEDDED}
    most = 2 if quick else 4
    shapes = {f"{n}, T = {t}": replace(base, steps=t) for n, base in bases.items() for t in range(1, most + 1)}
    return over_shapes("scorer", shapes, compare, repeats)


if __name__ == "__main__":
    main(row)
