"""The token counts that predict the overhead of information gain are those that the scorer reads."""

from dataclasses import replace

import overhead
import pytest
import scorer

from igsearch.policy.shared import tokens_read


@pytest.mark.parametrize("turns", [1, 2, 3, 4])
def test_predicted_tokens_are_those_of_the_scorers_rows(turns: int) -> None:
    shape = replace(scorer.LARGE, rollouts=1, steps=turns)
    rows = scorer.rows_of(shape)
    read = scorer.OPENING + shape.answer - 1  # nothing follows the last token, so it is not read
    counts = overhead.Shape(shape.prompt, 0, shape.query, shape.documents, shape.refine, read, turns, shape.draws)
    assert counts.plain == sum(len(context) + len(answer) - 1 for context, answer in rows)
    assert counts.shared == pytest.approx(tokens_read(*zip(*rows, strict=True)), rel=0.002)


def test_where_steps_wait_for_rollouts_information_gain_takes_less_of_them() -> None:
    shape = overhead.PAPER[3]
    shares = [overhead.predicted(shape, decode=2.0, rollout=part) for part in (0.0, 0.5, 0.9)]
    assert shares[0].plain > shares[1].plain > shares[2].plain > shares[2].shared
    alone = overhead.predicted(replace(shape, draws=0), decode=2.0)
    assert alone.shared < overhead.predicted(shape, decode=2.0).shared
