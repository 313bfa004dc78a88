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
from igsearch.training.demonstrations import Example, examples

Progress = Callable[[int, int, float], None]
"""`progress(step, steps, loss)`"""

_REPORT_EVERY = 50


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


def fit(policy: Policy, shown: Sequence[Example], config: Config, progress: Progress | None = None) -> list[float]:
    """One pass over `shown` in batches, AdamW with a cosine to zero; the mean loss per learnt token of each step."""
    assert config.warm_start is not None
    settings = config.warm_start
    optimiser = torch.optim.AdamW(policy.model.parameters(), lr=settings.learning_rate)
    losses: list[float] = []
    policy.model.train()
    for step in range(settings.steps):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
        loss = batch_loss(policy, shown[step * settings.batch_size : (step + 1) * settings.batch_size])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
        if progress and (step + 1) % _REPORT_EVERY == 0:
            progress(step + 1, settings.steps, losses[-1])
    policy.model.eval()
    return losses


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
