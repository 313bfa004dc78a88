"""The control without which no claim about information gain stands: step rewards of the same scale at random places.

The scored steps of the whole batch exchange their information gain, and with it what they brought (so that the novelty
gate goes with the gain that it belongs to): mean, spread and number of the step rewards stay as they are, and nothing
connects a reward with the query that gets it.
"""

from dataclasses import replace

from igsearch.credit.advantage import groups_of
from igsearch.credit.batch import CreditBatch
from igsearch.methods import CreditConfig
from igsearch.seeds import generator

Place = tuple[int, int]


def _scored(batch: CreditBatch) -> list[Place]:
    """(row, place in that row's units) of each scored step, by question, then rollout, then step."""
    groups = sorted(groups_of(batch.uids), key=lambda rows: batch.uids[rows[0]])
    return [
        (row, place)
        for rows in groups
        for row in rows
        for place, unit in enumerate(batch.units[row])
        if unit.information_gain is not None
    ]


def permuted(batch: CreditBatch, key: tuple[int | str, ...]) -> CreditBatch:
    """`batch` with the gains of its scored steps permuted. The draw is that of `key`, which names run and step."""
    places = _scored(batch)
    order = generator(*key, "permutation").permutation(len(places))
    source = {place: places[index] for place, index in zip(places, order, strict=True)}
    units = [list(row) for row in batch.units]
    for (row, place), (from_row, from_place) in source.items():
        given = batch.units[from_row][from_place]
        units[row][place] = replace(
            batch.units[row][place], information_gain=given.information_gain, new_passages=given.new_passages
        )
    return replace(batch, units=tuple(tuple(row) for row in units))


def controlled(batch: CreditBatch, method: CreditConfig, key: tuple[int | str, ...]) -> CreditBatch:
    """What the rule is to see of the batch of all processes: itself, or permuted where the method is the control."""
    return permuted(batch, key) if method.information_gain and method.information_gain.permuted else batch
