"""IG-Search: the information gain of each search, sent to the tokens of the query that caused it.

    A_ip = A_i + alpha * stabilise(IG_it) / |Q_it|   on the sampled tokens Q_it of the query of step t,   A_i elsewhere

Source: arXiv 2604.15148, Eq. 4. `A_i` is GRPO's advantage and |Q| the number of query tokens: however long a query is,
its bonus sums to alpha * stabilise(IG).

Deviations. The paper names a dead zone and an asymmetric scaling of negative values without giving their form. Ours,
each stage separately switchable, in this order: |x| < dead_zone becomes 0; negative values are multiplied by
negative_scale; the rest is clipped to +-bound. Steps that were not scored get no bonus and enter no mean.

Options, all off by default. Before the stages (`ig_search_shared` has them): IG counts as 0 where a search brought no
new passage; the mean over the group at the same search index is subtracted; the values are divided by the standard
deviation of the batch, or of the group at the search index (with the centring, a z-score as in A2TGPO, arXiv
2605.06200). After them: the bonus goes to groups without outcome variance only; it goes to the thoughts of the turn as
well as to the query, |Q| being the number of both.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping

import torch

from igsearch.credit import grpo
from igsearch.credit.advantage import uniform_rows
from igsearch.credit.batch import CreditBatch, Place, Unit
from igsearch.methods import CreditConfig, StabiliserConfig

Values = dict[Place, float]
"""A value for each scored search step."""


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


def _by_group_step(batch: CreditBatch, values: Values) -> Mapping[tuple[str, int], list[Place]]:
    """The places with a value, by question and search index."""
    together: defaultdict[tuple[str, int], list[Place]] = defaultdict(list)
    for row, place in values:
        together[batch.uids[row], batch.units[row][place].index].append((row, place))
    return together


def _spread(values: Iterable[float]) -> float:
    """Standard deviation (ddof = 1); 1 where the values differ by rounding errors at most."""
    known = list(values)
    spread = statistics.stdev(known) if len(known) > 1 else 0.0
    return spread if spread > 1e-6 else 1.0


def _scales(batch: CreditBatch, values: Values, config: CreditConfig) -> Values:
    """What each value is divided by."""
    if config.scale == "group_step_std":
        groups = _by_group_step(batch, values).values()
        return {key: spread for keys in groups for spread in [_spread(values[k] for k in keys)] for key in keys}
    return dict.fromkeys(values, _spread(values.values()) if config.scale == "batch_std" else 1.0)


def _means(batch: CreditBatch, values: Values, config: CreditConfig) -> Values:
    """What is subtracted from each value."""
    if config.centre == "none":
        return dict.fromkeys(values, 0.0)
    groups = _by_group_step(batch, values).values()
    return {key: mean for keys in groups for mean in [statistics.fmean(values[k] for k in keys)] for key in keys}


def credited(batch: CreditBatch, config: CreditConfig) -> Values:
    """The stabilised value that each scored step gets, before alpha and the division by the query's length."""
    values = _raw(batch, config.novelty_gate)
    scales, means = _scales(batch, values, config), _means(batch, values, config)
    own = {key: stabilise((values[key] - means[key]) / scales[key], config.stabiliser) for key in values}
    return {key: own[batch.exchange.get(key, key)] for key in own}


def _routed(unit: Unit, config: CreditConfig) -> list[int]:
    """The positions that share the bonus of a step."""
    return [*unit.positions, *(unit.think if config.route == "query_and_think" else ())]


def advantages(batch: CreditBatch, config: CreditConfig) -> torch.Tensor:
    """Token advantages, float [B, L]."""
    advantage_BL = grpo.advantages(batch, config)
    everywhere = config.bonus_groups == "all"
    rows = range(len(batch.uids)) if everywhere else uniform_rows(batch.reward_B, batch.uids)
    for (row, place), value in credited(batch, config).items():
        positions = _routed(batch.units[row][place], config)
        if positions and row in rows:
            advantage_BL[row, positions] += config.alpha * value / (len(positions) if config.length_norm else 1)
    return advantage_BL * batch.loss_mask_BL
