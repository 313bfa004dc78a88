"""The published table under its own errors: the arithmetic, and which claims it leaves standing."""

import csv
import io
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm
from typer.testing import CliRunner, Result

from igsearch.cli.entry import app
from igsearch.evaluation.power import RHOS, TEST_SIZES
from igsearch.evaluation.referee import MACRO
from igsearch.reporting import published_referee as referee
from igsearch.reporting.published_referee import Comparison, compare, ours, rivals
from igsearch.seeds import generator

SMALL, LARGE = referee.MODELS


def of(model: str, method: str, corrected: bool = False, variant: str = "base") -> Comparison:
    found = compare(ours(model), rivals(model, corrected))
    return next(each for each in found if (each.other.row.method, each.other.row.variant) == (method, variant))


def test_macro_average_has_an_error_of_two_thirds_of_a_point_nine_tenths_of_it_bamboogles() -> None:
    entry = ours(SMALL)
    assert entry.standard_error(MACRO) == pytest.approx(0.0066, abs=1e-4)
    assert entry.bamboogles_part == pytest.approx(0.90, abs=0.01)
    assert sqrt(2) * entry.standard_error(MACRO) == pytest.approx(0.0094, abs=1e-4)


def test_standard_error_of_a_difference_is_that_of_correlated_binomial_draws() -> None:
    one, other, rho, draws = ours(SMALL), rivals(SMALL)[0], 0.5, 20_000
    differences = np.zeros(draws)
    for name, count in TEST_SIZES.items():
        p, q = (each.scores[name] if each.scores[name] is not None else 0.5 for each in (one, other))
        assert p is not None
        assert q is not None
        both = p * q + rho * sqrt(p * (1 - p) * q * (1 - q))
        cells = generator("published", name).multinomial(count, [both, p - both, q - both, 1 - p - q + both], draws)
        differences += (cells[:, 1] - cells[:, 2]) / count / len(TEST_SIZES)
    assert differences.std() == pytest.approx(referee.standard_error(one, other, MACRO, rho), rel=0.02)


def test_the_margins_over_gigpo_and_mr_search_are_one_and_under_two_errors() -> None:
    assert of(SMALL, "GiGPO", variant="instruct").z(0.0) == pytest.approx(0.97, abs=0.02)
    assert of(SMALL, "MR-Search").z(0.0) == pytest.approx(1.73, abs=0.02)
    assert of(SMALL, "GiGPO", variant="instruct").stands_from is None
    assert of(SMALL, "MR-Search").stands_from == 0.7
    assert of(SMALL, "AutoRefine").stands_from == 0.3


def test_corrected_bamboogle_turns_gigpo_and_igrpo_round() -> None:
    printed, corrected = (of(SMALL, "IGRPO", each, "instruct") for each in (False, True))
    assert printed.difference < 0 < corrected.difference
    gigpo = of(SMALL, "GiGPO", True, "instruct")
    assert gigpo.other.scores["bamboogle"] == 36 / 125
    assert gigpo.difference == pytest.approx(0.060, abs=5e-4)
    assert gigpo.stands_from == 0.0
    assert of(LARGE, "GiGPO", True, "instruct").other.scores["bamboogle"] == 48 / 125
    assert not any(each.corrected for each in rivals(SMALL))


def test_rows_beside_ig_search_are_comparable_and_there_for_each_name() -> None:
    both = {each.row.method for model in referee.MODELS for each in rivals(model)}
    assert both == set(referee.RIVALS)
    assert all(each.row.comparable for model in referee.MODELS for each in rivals(model, True))
    assert (len(rivals(SMALL)), len(rivals(LARGE))) == (21, 17)


def test_holm_is_over_the_table_and_p_two_sided() -> None:
    found = referee.stated_margins()
    assert [each.figure for each in found] == ["hotpotqa", "2wikimultihopqa", "musique", "bamboogle", MACRO]
    raw = {each.figure: 2 * norm.sf(abs(each.z(0.0))) for each in found}
    assert found[1].adjusted[0.0] == pytest.approx(5 * raw["2wikimultihopqa"])
    assert found[0].adjusted[0.0] == pytest.approx(4 * raw["hotpotqa"])


def test_mean_of_batch_means_has_half_of_one_questions_error() -> None:
    draw = generator("batch means")
    means = (draw.binomial(124, 0.288, 50_000) / 124 + draw.binomial(1, 0.288, 50_000)) / 2
    assert means.std() == pytest.approx(referee.batch_mean_error(0.288), rel=0.02)


def published(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["referee", "published", *arguments], prog_name="igsearch", env={"COLUMNS": "80"})


def test_command_prints_80_columns_and_writes_csv_and_figure(tmp_path: Path) -> None:
    data, figure = tmp_path / "all.csv", tmp_path / "forest.svg"
    result = published("--csv", str(data), "--figure", str(figure))
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.split("\n"))) <= 80
    assert "not to say that there is none" in " ".join(result.stdout.split())
    rows = list(csv.DictReader(io.StringIO(data.read_text(encoding="utf-8"))))
    differences = [row for row in rows if row["kind"] == "IG-Search minus it" and row["method"] == "MR-Search"]
    assert {float(row["rho"]) for row in differences} == set(RHOS)
    assert figure.read_text(encoding="utf-8").startswith("<?xml")


def test_a_figure_of_an_unknown_kind_is_refused_before_anything_is_printed(tmp_path: Path) -> None:
    result = published("--figure", str(tmp_path / "forest.doc"))
    assert result.exit_code == 2
    assert "ends in .png, .svg or .pdf" in result.output
