"""One training step in bare torch: the documentation of the method, and the oracle of the trainer.

    rollouts -> retrieval -> outcome reward -> information gain -> token advantage -> loss

Read `train_step` first; what turns advantages into a gradient is below it. training/trainer.py does the same with TRL
and must give the same loss and gradient on the same rollouts. The two share rewards/, credit/ and the padding of
training/batch.py, nothing else.

    L = mean over sampled tokens of  max(-A r, -A clip(r, 1 - eps, 1 + eps)) + beta * k3
    r = exp(log p - log p_old),   k3 = exp(log p_ref - log p) - (log p_ref - log p) - 1

Source: GRPO (arXiv 2402.03300), token mean of DAPO (arXiv 2503.14476). Deviation: k3 is not clamped, as in TRL.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import torch

from igsearch import credit
from igsearch.config import Config, TrainConfig
from igsearch.credit.control import controlled
from igsearch.methods import CreditConfig
from igsearch.policy.base import Policy
from igsearch.records import Question
from igsearch.retrieval.base import Retriever
from igsearch.rewards.answer import episode_reward
from igsearch.rewards.signals import diagnostics, measure
from igsearch.rollout.environment import rollout
from igsearch.rollout.prompts import STYLES
from igsearch.training.batch import TokenBatch, credit_batch, token_batch

Key = tuple[int | str, ...]


def train_step(
    policy: Policy,
    reference: torch.nn.Module | None,
    optimizer: torch.optim.Optimizer,
    retriever: Retriever,
    questions: Sequence[Question],
    config: Config,
    method: CreditConfig,
    key: Key,
) -> dict[str, float]:
    """Improve `policy` in place on one batch of questions and return the figures of the step.

    `key` names the run and the step: all randomness follows from it. `method` is as it stands at this step
    (schedule.method_of_step). `reference` is the model before any training, needed where config.train.beta is not 0 and
    where it scores the information gain.
    """
    train = config.train

    # The policy searches: every question is tried group_size times, the environment retrieves between its turns.
    asked = [question for question in questions for _ in range(train.group_size)]
    numbers = list(range(train.group_size)) * len(questions)
    episodes = rollout(policy, retriever, asked, numbers, config.rollout, config.retrieval.k, (*key, "rollout"))

    # Was the answer right? And how much did the documents of each search raise the probability of the gold answer?
    rewards = [episode_reward(method.reward, episode, method.search_r1_format) for episode in episodes]
    start = None if reference is None else replace(policy, model=reference)
    scaffold = STYLES[config.rollout.prompt].forced_answer
    signals = measure(policy, episodes, method, key, rewards, scaffold, start=start)

    # Every token gets its advantage: that of its rollout and, on the tokens of a query, what the search brought.
    batch = controlled(credit_batch(episodes, rewards, signals, method.reward), method, key)
    advantage_BL = credit.resolve(method.rule)(batch, method)

    # Likelier where the advantage is positive, less likely where it is negative; injected tokens never count.
    pad = policy.tokenizer.pad_token_id or 0
    tokens = token_batch(episodes, pad, train.mini_batches, config.rollout.temperature, policy.model.device)
    losses = update(policy.model, reference, optimizer, tokens, advantage_BL.to(policy.model.device), train)

    answered = [reward for reward in rewards if reward == reward]
    return {
        "reward": sum(answered) / max(len(answered), 1),
        "loss": sum(losses) / len(losses),
        **diagnostics(episodes, signals, method),
    }


def update(
    model: torch.nn.Module,
    reference: torch.nn.Module | None,
    optimizer: torch.optim.Optimizer,
    batch: TokenBatch,
    advantage_BL: torch.Tensor,
    config: TrainConfig,
) -> list[float]:
    """One pass over the batch in `config.mini_batches` optimiser updates. Returns the loss of each."""
    with torch.no_grad():
        reference_BL = logprobs_of(reference, batch) if reference is not None and config.beta else None
        if config.mini_batches > 1:
            batch = replace(batch, old_logprobs_BL=logprobs_of(model, batch))
    losses = []
    for rows in mini_batches(len(batch), config.mini_batches):
        reference_bL = None if reference_BL is None else reference_BL[rows]
        loss = loss_of(model, reference_bL, batch.rows(rows), advantage_BL[rows], config)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.step()
        losses.append(loss.item())
    return losses


def mini_batches(rows: int, count: int) -> Iterator[slice]:
    """`rows` in `count` consecutive slices whose lengths differ by one at most."""
    edges = [rows * i // count for i in range(count + 1)]
    return (slice(begin, end) for begin, end in pairwise(edges))


def loss_of(
    model: torch.nn.Module,
    reference_BL: torch.Tensor | None,
    batch: TokenBatch,
    advantage_BL: torch.Tensor,
    config: TrainConfig,
) -> torch.Tensor:
    """The loss, a scalar with gradient, of fixed rollouts with fixed advantages.

    `reference_BL` are the reference model's log-probabilities (None: no KL). Where `batch` has no old log-probabilities
    the policy has not moved since it sampled, and they are its own.
    """
    logprob_BL = logprobs_of(model, batch)
    old_BL = logprob_BL.detach() if batch.old_logprobs_BL is None else batch.old_logprobs_BL
    ratio_BL = (logprob_BL - old_BL).exp()
    clipped_BL = ratio_BL.clamp(1 - config.epsilon, 1 + config.epsilon)
    loss_BL = torch.maximum(-advantage_BL * ratio_BL, -advantage_BL * clipped_BL)
    if reference_BL is not None and config.beta:
        distance_BL = reference_BL - logprob_BL
        loss_BL = loss_BL + config.beta * (distance_BL.exp() - distance_BL - 1)
    return aggregate(loss_BL, batch, config)


def aggregate(loss_BL: torch.Tensor, batch: TokenBatch, config: TrainConfig) -> torch.Tensor:
    """One loss from all: `dapo` mean over the tokens of all rollouts, `bnpo` of these, `grpo` sequence by sequence."""
    mask_BL = batch.loss_mask_BL
    sum_B = (loss_BL * mask_BL).sum(-1)
    if config.loss == "grpo":
        return (sum_B / mask_BL.sum(-1).clamp(min=1)).mean()
    return sum_B.sum() / (batch.tokens_per_update if config.loss == "dapo" else mask_BL.sum().clamp(min=1))


def logprobs_of(model: torch.nn.Module, batch: TokenBatch) -> torch.Tensor:
    """Log-probability of every sampled token at the sampling temperature, [B, L]; 0 on all other tokens."""
    ids_BT = torch.cat([batch.prompt_BP, batch.response_BL], 1)
    mask_BT = torch.cat([batch.prompt_mask_BP, batch.response_mask_BL], 1)
    position_BT = (mask_BT.cumsum(1) - 1).clamp(min=0)
    length = batch.response_BL.shape[1]
    output = model(input_ids=ids_BT, attention_mask=mask_BT, position_ids=position_BT, logits_to_keep=length + 1)
    logprob_BLV = (output.logits[:, :-1] / batch.temperature).log_softmax(-1)
    logprob_BL = logprob_BLV.gather(-1, batch.response_BL[..., None])[..., 0]
    return logprob_BL.masked_fill(batch.loss_mask_BL == 0, 0.0)
