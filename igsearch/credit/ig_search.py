"""IG-Search: the information gain of each search, sent to the tokens of the query that caused it.

    A_ip = A_i + alpha * stabilise(IG_it) / |Q_it|   on the sampled tokens Q_it of the query of step t,   A_i elsewhere

Source: arXiv 2604.15148, Eq. 4. `A_i` is GRPO's advantage and |Q| the number of query tokens: however long a query is,
its bonus sums to alpha * stabilise(IG).

Deviations. The paper names a dead zone and an asymmetric scaling of negative values without giving their form. Ours,
each stage separately switchable, in this order: |x| < dead_zone becomes 0; negative values are multiplied by
negative_scale; the rest is clipped to +-bound. Three options before these, all off by default (`ig_search_shared` has
them): IG counts as 0 where a search brought no new passage; the mean over the group at the same search index is
subtracted; the values are divided by the standard deviation of the batch. Steps that were not scored get no bonus and
enter no mean.
"""

import statistics
from collections import defaultdict
from collections.abc import Mapping

import torch

from igsearch.credit import grpo
from igsearch.credit.batch import CreditBatch
from igsearch.methods import CreditConfig, StabiliserConfig

Values = dict[tuple[int, int], float]
"""A value for each scored search step, by (row, place in that row's units)."""


def stabilise(value: float, config: StabiliserConfig) -> float:
    """Dead zone, asymmetry, bound: IG in nats per weighted answer token. A stage set to None is left out."""
    if config.dead_zone is not None and abs(value) < config.dead_zone:
        return 0.0
    if config.negative_scale is not None and value < 0:
        value *= config.negative_scale
    return value if config.bound is None else min(max(value, -config.bound), config.bound)


def _raw(batch: CreditBatch, novelty_gate: bool) -> Values:
    return {
        (row, place): 0.0 if novelty_gate and unit.new_passages == 0 else unit.information_gain
        for row, units in enumerate(batch.units)
        for place, unit in enumerate(units)
        if unit.information_gain is not None
    }


def _group_step_means(batch: CreditBatch, values: Values) -> Mapping[tuple[str, int], float]:
    together: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
    for (row, place), value in values.items():
        together[batch.uids[row], batch.units[row][place].index].append(value)
    return {key: statistics.fmean(group) for key, group in together.items()}


def _centre(batch: CreditBatch, values: Values) -> Values:
    mean = _group_step_means(batch, values)
    return {
        (row, place): value - mean[batch.uids[row], batch.units[row][place].index]
        for (row, place), value in values.items()
    }


def _spread(values: Values) -> float:
    """Standard deviation over the batch (ddof = 1); 1 where the values differ by rounding errors at most."""
    spread = statistics.stdev(values.values()) if len(values) > 1 else 0.0
    return spread if spread > 1e-6 else 1.0


def credited(batch: CreditBatch, config: CreditConfig) -> Values:
    """The stabilised value of each scored step, before alpha and the division by the query's length."""
    values = _raw(batch, config.novelty_gate)
    spread = _spread(values) if config.scale == "batch_std" else 1.0
    if config.centre == "group_step":
        values = _centre(batch, values)
    return {key: stabilise(value / spread, config.stabiliser) for key, value in values.items()}


def advantages(batch: CreditBatch, config: CreditConfig) -> torch.Tensor:
    """Token advantages, float [B, L]."""
    advantage_BL = grpo.advantages(batch, config)
    for (row, place), value in credited(batch, config).items():
        positions = list(batch.units[row][place].positions)
        if positions:
            advantage_BL[row, positions] += config.alpha * value / (len(positions) if config.length_norm else 1)
    return advantage_BL * batch.loss_mask_BL
