"""The control without which no claim about information gain stands: the same step rewards, at random steps.

Scored steps exchange what they are credited with, after centring, scaling and stabilising. So the bonuses keep their
number and every one of their values, and nothing connects a bonus with the query that gets it. Exchanging the raw gains
before the centring would not do: the differences between questions, which the centring removes, would come back as
noise, and the control would have larger bonuses than what it is a control for.

The steps of the whole batch exchange. Where bonuses are centred (`centre="group_step"`), only those of the same
question and search index do, so that they sum there to what they did, and no question gets what belongs to another.
"""

from collections import defaultdict
from dataclasses import replace

from igsearch.credit.batch import CreditBatch, Place
from igsearch.methods import CreditConfig
from igsearch.seeds import generator


def _scored(batch: CreditBatch, method: CreditConfig) -> dict[tuple[int | str, ...], list[Place]]:
    """The scored steps that exchange among each other, by the name of their draw: by question, rollout, then step."""
    together: defaultdict[tuple[int | str, ...], list[Place]] = defaultdict(list)
    for row in sorted(range(len(batch.units)), key=lambda row: batch.uids[row]):
        for place, unit in enumerate(batch.units[row]):
            if unit.information_gain is not None:
                name = (batch.uids[row], unit.index) if method.centre == "group_step" else ()
                together[name].append((row, place))
    return together


def exchanged(batch: CreditBatch, method: CreditConfig, key: tuple[int | str, ...]) -> CreditBatch:
    """`batch` with an exchange among its scored steps, drawn for `key`, which names run and step."""
    exchange: dict[Place, Place] = {}
    for name, places in _scored(batch, method).items():
        order = generator(*key, "exchange", *name).permutation(len(places))
        exchange |= {place: places[index] for place, index in zip(places, order, strict=True)}
    return replace(batch, exchange=exchange)


def controlled(batch: CreditBatch, method: CreditConfig, key: tuple[int | str, ...]) -> CreditBatch:
    """What the rule sees of the batch of all processes: itself, or with an exchange where `method` is the control."""
    return exchanged(batch, method, key) if method.permuted else batch
