"""The figures are drawn, repeat to the byte and say what they show."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from made_results import evaluation, examined_rows, training_run

from igsearch.evaluation.store import Evaluation
from igsearch.reporting import curves, forest, plots
from igsearch.reporting.differences import differences
from igsearch.reporting.examined import summary
from igsearch.reporting.results import TrainingRun, group

NAMES = (
    *("learning_curves", "uniform_groups", "first_query_useful", "em_by_hops"),
    *("information_gain", "advantage_mass", "differences"),
)
EXAMINED = [summary("grpo", 0, examined_rows(None)), summary("ig_search", 0, examined_rows(0.3))]


@pytest.fixture(scope="module")
def drawn(evaluations: list[Evaluation], training: list[TrainingRun], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plots")
    plots.write(evaluations, training, EXAMINED, out, validation_questions=200)
    return out


def test_each_figure_is_a_png_and_an_svg(drawn: Path) -> None:
    for name in NAMES:
        assert (drawn / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (drawn / f"{name}.svg").read_text(encoding="utf-8")


def test_figures_repeat_to_the_byte(
    drawn: Path, evaluations: list[Evaluation], training: list[TrainingRun], tmp_path: Path
) -> None:
    plots.write(evaluations, training, EXAMINED, tmp_path, validation_questions=200)
    assert {path.name for path in drawn.iterdir()} == {path.name for path in tmp_path.iterdir()}
    assert all(path.read_bytes() == (tmp_path / path.name).read_bytes() for path in drawn.iterdir())


def test_curves_csv_holds_every_drawn_point(drawn: Path, training: list[TrainingRun]) -> None:
    rows = list(csv.DictReader(io.StringIO((drawn / "curves.csv").read_text(encoding="utf-8"))))
    em = [row for row in rows if row["metric"] == "validation/em" and row["method"] == "grpo" and row["seed"] == "1"]
    expected = next(run for run in training if (run.method, run.seed) == ("grpo", 1)).series("validation/em")
    assert [(int(row["step"]), float(row["value"])) for row in em] == [
        (s, pytest.approx(v, abs=1e-6)) for s, v in expected
    ]


def test_without_training_and_hops_only_what_can_be_drawn_is(evaluations: list[Evaluation], tmp_path: Path) -> None:
    written = plots.write(evaluations[:1], [], [], tmp_path, validation_questions=200)
    assert [path.name for path in written] == ["em_by_hops.png", "em_by_hops.svg", "curves.csv"]


def test_smoothing_is_a_centred_mean_that_shortens_at_the_ends() -> None:
    assert curves.smooth([0.0, 3.0, 6.0, 9.0], 3) == [1.5, 3.0, 6.0, 7.5]
    assert curves.smooth([1.0, 2.0], 1) == [1.0, 2.0]


def test_many_methods_get_a_panel_each_with_grpo_behind_them(evaluations: list[Evaluation], tmp_path: Path) -> None:
    names = ["grpo", *(f"method_{i}" for i in range(5))]
    runs = [training_run(name, seed, 0.5 + 0.05 * i) for i, name in enumerate(names) for seed in (0, 1)]
    made = [evaluation(name, seed, 0.7) for name in names for seed in (0, 1)]
    plots.write([*made, evaluations[-1]], runs, [], tmp_path, validation_questions=200)
    drawn = (tmp_path / "learning_curves.svg").read_text(encoding="utf-8")
    assert all(f"<!-- {name} -->" in drawn for name in names[1:])
    assert "Grey: grpo." in drawn
    by_hops = (tmp_path / "em_by_hops.svg").read_text(encoding="utf-8")
    assert all(f"<!-- {name} -->" in by_hops for name in names)


def test_a_curve_that_only_some_methods_log_is_drawn_for_these(training: list[TrainingRun]) -> None:
    curve = next(each for each in curves.CURVES if each.file == "step_signal")
    assert curves.draw(training, curve, 200, synthetic=True) is None
    logging = replace(training[0], steps=tuple((step, {curve.metric: 0.1}) for step in range(1, 4)))
    figure = curves.draw([logging, *training[3:]], curve, 200, synthetic=True)
    assert figure
    assert [line.get_label() for line in figure.axes[0].lines] == ["grpo (1 seed)"]


def test_figures_of_partial_evaluations_say_so(evaluations: list[Evaluation]) -> None:
    cut = group([replace(each, partial=("only 3 of 40 questions",)) for each in evaluations])
    whole = group(evaluations)
    for draw in (
        lambda results, partial: plots.hops(results, True, partial),
        lambda results, partial: forest.draw(differences(results, ()), True, partial),
    ):
        told = [str(draw(results, partial).get_supxlabel()) for results, partial in ((cut, True), (whole, False))]
        assert told[0].startswith("PARTIAL. Synthetic data.")
        assert "PARTIAL" not in told[1]
