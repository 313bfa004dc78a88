"""`igsearch power`: what it stands on and what it prints."""

import numpy as np
import pytest
from made_results import PER_BENCHMARK, evaluation
from typer.testing import CliRunner, Result

from igsearch.cli.entry import app
from igsearch.errors import UserError
from igsearch.evaluation.power import Demand
from igsearch.records import BENCHMARKS
from igsearch.reporting import power


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["power", *arguments], prog_name="igsearch", env={"COLUMNS": "80"})


def test_shares_sizes_and_correlation_are_those_of_the_records() -> None:
    first, second = ([evaluation(m, s, skill) for s in range(3)] for m, skill in (("grpo", 0.5), ("ig_search", 0.8)))
    ground = power.from_records(first, second)
    measured = ground.settings["measured"]
    assert measured.sizes == dict.fromkeys(BENCHMARKS, PER_BENCHMARK)
    pairs = [
        np.corrcoef(*([r.em for r in each.records if r.benchmark == "musique"] for each in runs))[0, 1]
        for runs in zip(first, second, strict=True)
    ]
    assert measured.rho["musique"] == pytest.approx(np.mean(pairs))
    assert len(ground.seed_sds) == len(power.SEED_SDS) + 1
    assert "3 runs of each, synthetic data" in ground.source
    assert len(power.from_records(first[:1], second[:1]).seed_sds) == len(power.SEED_SDS)
    with pytest.raises(UserError, match="no training seed or no question in common"):
        power.from_records(first[:2], [evaluation("ig_search", 5, 0.8)])


def test_published_ground_has_all_seven_sets_and_a_grid_of_correlations() -> None:
    ground = power.from_published()
    assert list(ground.settings) == ["rho 0", "rho .3", "rho .5", "rho .7"]
    assert list(ground.first.shares) == list(BENCHMARKS)
    needed = power.questions_table(ground, 0.009, Demand()).rows
    assert needed[-1][:2] == ("  or bamboogle", "125")
    assert len(needed) == len(BENCHMARKS) + 3


def test_command_prints_tables_that_fit_80_columns_and_its_assumptions() -> None:
    result = run("--effect", "0.9")
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.split("\n"))) <= 80
    assert "51,713" in result.stdout
    assert "Questions are independent" in result.stdout
    alone = run("--effect", "2", "--benchmark", "bamboogle")
    assert alone.exit_code == 0
    assert "51,713" not in alone.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--effect", "80"), "--effect must lie between 0 and"),
        (("--effect", "0"), "--effect must lie between 0 and"),
        (("--effect", "1", "--power", "1"), "--power must lie between 0.5 and 1"),
        (("--effect", "1", "--benchmark", "hotpot"), "did you mean 'hotpotqa'?"),
        (("--effect", "1", "--seeds", "0"), "--seeds must be at least 1"),
    ],
)
def test_what_cannot_be_computed_is_told_in_a_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert sentence in result.output
