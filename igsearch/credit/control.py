"""The control without which no claim about information gain stands: the same step rewards, at random steps.

The scored steps of the whole batch exchange what they are credited with, after centring, scaling and stabilising. So
the bonuses keep their number and every one of their values, and nothing connects a bonus with the query that gets it.
Exchanging the raw gains before the centring would not do: the differences between questions, which the centring
removes, would come back as noise, and the control would have larger bonuses than what it is a control for.
"""

from dataclasses import replace

from igsearch.credit.advantage import groups_of
from igsearch.credit.batch import CreditBatch, Place
from igsearch.methods import CreditConfig
from igsearch.seeds import generator


def _scored(batch: CreditBatch) -> list[Place]:
    """Each scored step, by question, then rollout, then step."""
    groups = sorted(groups_of(batch.uids), key=lambda rows: batch.uids[rows[0]])
    return [
        (row, place)
        for rows in groups
        for row in rows
        for place, unit in enumerate(batch.units[row])
        if unit.information_gain is not None
    ]


def exchanged(batch: CreditBatch, key: tuple[int | str, ...]) -> CreditBatch:
    """`batch` with an exchange among its scored steps, drawn for `key`, which names run and step."""
    places = _scored(batch)
    order = generator(*key, "exchange").permutation(len(places))
    return replace(batch, exchange={place: places[index] for place, index in zip(places, order, strict=True)})


def controlled(batch: CreditBatch, method: CreditConfig, key: tuple[int | str, ...]) -> CreditBatch:
    """What the rule sees of the batch of all processes: itself, or with an exchange where `method` is the control."""
    return exchanged(batch, key) if method.permuted else batch
