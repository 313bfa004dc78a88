"""The warm start: supervised training of a fresh tiny policy on imperfect demonstrations.

Afterwards it knows the protocol and has a sense of how likely an answer is, and its queries are bad.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from igsearch.benchmarks import world
from igsearch.config import Config
from igsearch.errors import UserError
from igsearch.policy import tiny
from igsearch.policy.base import Policy
from igsearch.policy.load import save_policy
from igsearch.retrieval.base import Retriever
from igsearch.seeds import generator
from igsearch.training.demonstrations import Example, examples

Progress = Callable[[int, int, float], None]
"""`progress(step, steps, loss)`"""

_REPORT_EVERY = 50
_WINDOW = 16  # batches
_RISE = 50  # steps
_BETAS = (0.9, 0.98)  # the usual second value for training from scratch


def warm_start(config: Config, retriever: Retriever, out: Path, progress: Progress | None = None) -> dict[str, float]:
    """Train a tiny policy from nothing and save it to `out`; returns the loss of the first and last steps.

    `retriever` searches the corpus of `config.world`: demonstrations show what really is retrieved. Deterministic.
    Raises UserError where the profile asks for no warm start, or for one of a pretrained policy.
    """
    if config.warm_start is None or config.policy.name != "tiny":
        raise UserError("the warm start is for the policy 'tiny' of a profile with warm_start settings")
    lexicon = world.lexicon(config.world)
    policy = tiny.build(lexicon.words, lexicon.stems, lexicon.suffixes, config.policy)
    training = world.generate(config.world)["train"]
    count = config.warm_start.steps * config.warm_start.batch_size
    shown = examples(policy, training.questions, training.facts, retriever, config, count)
    with _one_thread():
        losses = fit(policy, shown, config, progress)
    save_policy(policy, out)
    return {"loss/first": sum(losses[:10]) / len(losses[:10]), "loss/last": sum(losses[-50:]) / len(losses[-50:])}


@contextmanager
def _one_thread() -> Iterator[None]:
    """A model this small gains nothing from a second thread, and sums in another order with it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def batches(shown: Sequence[Example], size: int, seed: int) -> list[list[Example]]:
    """`shown` in batches of examples of similar length, which halves the padding, in random order.

    Only examples of the same window of 16 batches are sorted by length.
    """
    found: list[list[Example]] = []
    for start in range(0, len(shown), size * _WINDOW):
        window = sorted(shown[start : start + size * _WINDOW], key=lambda example: len(example.ids))
        cut = [window[i : i + size] for i in range(0, len(window), size)]
        found += [cut[i] for i in generator(seed, "batches", start).permutation(len(cut))]
    return found


def fit(policy: Policy, shown: Sequence[Example], config: Config, progress: Progress | None = None) -> list[float]:
    """One pass over `shown`, AdamW with a cosine to zero; the mean loss per learnt token of each step."""
    assert config.warm_start is not None
    settings = config.warm_start
    optimiser = torch.optim.AdamW(policy.model.parameters(), lr=settings.learning_rate, betas=_BETAS)
    losses: list[float] = []
    policy.model.train()
    for step, batch in enumerate(batches(shown, settings.batch_size, settings.seed)):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * _schedule(step, settings.steps)
        loss = batch_loss(policy, batch)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
        if progress and (step + 1) % _REPORT_EVERY == 0:
            progress(step + 1, settings.steps, losses[-1])
    policy.model.eval()
    return losses


def _schedule(step: int, steps: int) -> float:
    """Share of the learning rate: a short linear rise, then a cosine to zero."""
    return min(1.0, (step + 1) / _RISE) * 0.5 * (1 + math.cos(math.pi * step / steps))


def batch_loss(policy: Policy, batch: Sequence[Example]) -> torch.Tensor:
    """Mean negative log-likelihood (nats) of the learnt tokens of a batch, rows padded on the right."""
    width = max(len(example.ids) for example in batch)
    ids_BT = torch.tensor([example.ids + [0] * (width - len(example.ids)) for example in batch])
    real_BT = torch.tensor([[1] * len(example.ids) + [0] * (width - len(example.ids)) for example in batch])
    learnt_BT = torch.tensor([example.learnt + [False] * (width - len(example.learnt)) for example in batch])
    predicts_BT = learnt_BT.roll(-1, dims=1)  # a prompt comes first, so nothing wraps round
    logits_NV = policy.model(
        input_ids=ids_BT, attention_mask=real_BT, use_cache=False, logits_to_keep=predicts_BT
    ).logits
    return torch.nn.functional.cross_entropy(logits_NV.float(), ids_BT[learnt_BT])
