"""The tables, from made records whose figures are known."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from made_results import examined_rows
from rich.console import Console

from igsearch.errors import UserError
from igsearch.evaluation.statistics import Spread
from igsearch.evaluation.store import Evaluation
from igsearch.records import BENCHMARKS, EndReason
from igsearch.reporting import tables
from igsearch.reporting.examined import summary
from igsearch.reporting.results import Design, TrainingRun, group, read_training
from igsearch.reporting.table import Table, spread_cell

DESIGN = Design(rollouts_per_step=96, bases=("grpo", "ig_search"), style="tiny")
EXAMINED = [summary("grpo", 0, examined_rows(None)), summary("ig_search", 0, examined_rows(0.3))]
METHODS = ["warm_start", "grpo", "ig_search", "ig_search_shared"]


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


@pytest.fixture(scope="module")
def written(
    evaluations: list[Evaluation], training: list[TrainingRun], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("tables")
    tables.write(evaluations, training, EXAMINED, out, DESIGN)
    return out


def test_main_csv_holds_what_the_records_say(written: Path, evaluations: list[Evaluation]) -> None:
    rows = [row for row in rows_of(written / "main.csv") if row["metric"] == "em"]
    assert [row["method"] for row in rows] == METHODS
    assert {row["synthetic"] for row in rows} == {"True"}
    assert {row["questions"] for row in rows} == {str(40 * 7)}
    grpo = rows[1]
    of_seeds = [
        sum(r.em for r in each.records if r.benchmark == "nq") / 40
        for each in evaluations
        if each.subject.method == "grpo"
    ]
    assert float(grpo["nq"]) == pytest.approx(sum(of_seeds) / 3, abs=1e-6)
    assert float(grpo["nq_seed_low"]) == pytest.approx(min(of_seeds), abs=1e-6)
    assert float(grpo["nq_seed_high"]) == pytest.approx(max(of_seeds), abs=1e-6)
    assert float(grpo["nq_95_low"]) < float(grpo["nq"]) < float(grpo["nq_95_high"])
    assert float(grpo["macro"]) == pytest.approx(sum(float(grpo[name]) for name in BENCHMARKS) / 7, abs=1e-6)
    assert float(grpo["macro_95_low"]) < float(grpo["macro"]) < float(grpo["macro_95_high"])
    assert float(grpo["macro_seed_sd"]) >= 0
    assert rows[0]["macro_seed_sd"] == ""


def test_main_md_says_synthetic_questions_and_seeds(written: Path) -> None:
    text = (written / "main.md").read_text(encoding="utf-8")
    assert text.startswith("## EM by benchmark (synthetic data)\n")
    assert "| questions |  | 40 | 40 | 40 | 40 | 40 | 40 | 40 | 280 |" in text
    assert "| warm start (no RL) | – |" in text
    assert "| ig_search_shared | 3 |" in text
    assert "| macro average | 95 % |" in text
    low, high = (f"{float(rows_of(written / 'main.csv')[1][f'macro_95_{end}']):.3f}"[1:] for end in ("low", "high"))
    assert f"| {low}–{high} |" in text
    assert "PARTIAL" not in text


def test_published_rows_stand_in_a_table_of_their_own(written: Path) -> None:
    assert "Search-R1" not in (written / "main.md").read_text(encoding="utf-8")
    assert len(rows_of(written / "published.csv")) == 188


def test_by_hops_counts_questions_of_all_benchmarks(written: Path) -> None:
    rows = [row for row in rows_of(written / "by_hops.csv") if row["method"] == "grpo"]
    assert [(row["hops"], row["questions"]) for row in rows] == [("1", "120"), ("2", "134"), ("3", "13"), ("4", "13")]
    assert float(rows[0]["em"]) > float(rows[3]["em"])


def test_diagnostics_join_training_and_records(written: Path, training: list[TrainingRun]) -> None:
    rows = {row["method"]: row for row in rows_of(written / "diagnostics.csv")}
    of_seeds = [run.mean("reward/uniform_groups") for run in training if run.method == "grpo"]
    assert float(rows["grpo"]["uniform_groups"]) == pytest.approx(sum(map(float, filter(None, of_seeds))) / 3, abs=1e-6)
    assert rows["warm_start"]["uniform_groups"] == ""
    assert float(rows["grpo"]["first_query_useful"]) == 1.0
    assert float(rows["warm_start"]["first_query_useful"]) == 0.0


def test_every_row_says_what_its_answers_cost_and_the_first_attempt_stands_beside_the_last(
    evaluations: list[Evaluation], tmp_path: Path
) -> None:
    thrice = [replace(r, em_by_attempt=(0.0, 1.0, r.em), searches=3 * r.searches) for r in evaluations[0].records]
    tables.write([replace(evaluations[0], records=tuple(thrice)), *evaluations[1:]], [], [], tmp_path, DESIGN)
    for name in ("main", "by_hops"):
        head, _, *rows = (tmp_path / f"{name}.md").read_text(encoding="utf-8").split("\n\n")[1].splitlines()
        assert head.endswith("| searches | tokens |")
        assert all(row.split("|")[-3].strip() for row in rows[:-1])
    method = evaluations[0].subject.method
    (row,) = [row for row in rows_of(tmp_path / "diagnostics.csv") if row["method"] == method]
    of_seeds = [each.records for each in evaluations if each.subject.method == method]
    right = [sum(r.em for r in records) / len(records) for records in of_seeds]
    assert float(row["first_attempt"]) == pytest.approx(sum(right[1:]) / len(right), abs=1e-6)
    assert float(row["last_attempt"]) == pytest.approx(sum(right) / len(right), abs=1e-6)


def test_slower_training_changes_no_table(
    written: Path, evaluations: list[Evaluation], training: list[TrainingRun], tmp_path: Path
) -> None:
    slower = [
        replace(run, steps=tuple((s, {**m, "seconds/generation": 9.0}) for s, m in run.steps)) for run in training
    ]
    tables.write(evaluations, slower, EXAMINED, tmp_path, DESIGN)
    assert all(path.read_bytes() == (tmp_path / path.name).read_bytes() for path in written.iterdir())


def test_metrics_json_is_em_by_method(written: Path) -> None:
    metrics = json.loads((written / "metrics.json").read_text())
    assert sorted(metrics) == sorted(METHODS)
    assert set(metrics["grpo"]) == {*BENCHMARKS, "macro"}


def test_a_partial_evaluation_is_marked_in_every_table(evaluations: list[Evaluation], tmp_path: Path) -> None:
    cut = [replace(each, partial=("at most 40 questions per benchmark",)) for each in evaluations[:3]]
    tables.write([*cut, *evaluations[3:]], [], [], tmp_path, DESIGN)
    for name in ("main", "by_hops", "diagnostics", "differences"):
        text = (tmp_path / f"{name}.md").read_text(encoding="utf-8")
        assert "(synthetic data, PARTIAL)" in text
        assert name == "differences" or "PARTIAL, grpo: at most 40 questions per benchmark." in text


def test_failed_retrievals_leave_the_means_and_show(evaluations: list[Evaluation]) -> None:
    warm = evaluations[-1]
    wrong = [i for i, record in enumerate(warm.records) if record.benchmark == "nq" and not record.em]
    failed = [replace(r, end=EndReason.RETRIEVER_FAILED) if i in wrong else r for i, r in enumerate(warm.records)]
    table = tables.evaluation_table(replace(warm, records=tuple(failed)))
    nq = dict(zip(table.columns, table.rows[0], strict=True))
    assert (nq["benchmark"], nq["n"], nq["EM"], nq["failed"]) == ("nq", "40", "1.000", str(len(wrong)))


def test_tables_refuse_other_contracts_doubles_and_mixed_data(evaluations: Sequence[Evaluation]) -> None:
    first, second = evaluations[0], evaluations[1]
    other = replace(second, contract=replace(second.contract, corpus="d" * 64))
    with pytest.raises(UserError, match=r"grpo, seed 2 \(agent\) and grpo, seed 0 \(agent\) .* differ in corpus"):
        group([first, other])
    with pytest.raises(UserError, match="two evaluations of 'grpo' have the same seed"):
        group([first, first])
    with pytest.raises(UserError, match="synthetic"):
        group([first, replace(second, subject=replace(second.subject, synthetic=False))])
    with pytest.raises(UserError, match="no evaluation"):
        group([])


def test_ways_of_answering_are_rows_of_their_own(evaluations: Sequence[Evaluation]) -> None:
    subject = replace(evaluations[-1].subject, method="rag", inference="rag")
    results = group([evaluations[-1], replace(evaluations[-1], subject=subject)])
    assert [(result.method, result.inference) for result in results] == [("warm_start", "agent"), ("rag", "rag")]


def test_training_histories_are_read_and_missing_ones_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0, "validation/em": 0.1}\n{"step": 1, "reward/mean": 0.5}\n')
    run = read_training(path, "grpo", 0)
    assert run.series("validation/em") == [(0, 0.1)]
    assert run.mean("reward/mean") == 0.5
    assert run.mean("absent") is None
    with pytest.raises(UserError, match="train grpo with seed 0 first"):
        read_training(tmp_path / "none.jsonl", "grpo", 0)


def test_the_terminal_tables_fit_eighty_columns(evaluations: list[Evaluation]) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    for each in tables.terminal(evaluations):
        console.print(each)
    text = console.export_text()
    assert "EM by benchmark (synthetic data)" in text
    assert "2wikimultihopqa" in text
    assert max(map(len, text.split("\n"))) <= 80


def test_a_cell_with_a_bar_does_not_break_markdown() -> None:
    assert "| a\\|b | 1 |" in Table("t", ("x", "n"), (("a|b", "1"),)).markdown()


def test_the_range_is_shown_with_several_seeds_only() -> None:
    assert spread_cell(Spread(0.5, 0.25, 1.0, 3)) == "0.500 (.250–1.000)"
    assert spread_cell(Spread(0.5, 0.5, 0.5, 1)) == "0.500"
    assert spread_cell(None) == "–"


def test_gains_are_told_apart_by_where_the_answer_stands(written: Path) -> None:
    rows = {row["answer_in"]: row for row in rows_of(written / "gains.csv") if row["method"] == "ig_search"}
    assert {place: (row["searches"], row["questions"]) for place, row in rows.items()} == {
        "documents": ("1", "1"),  # 1.5
        "refine": ("1", "1"),  # .5, of the same rollout
        "neither": ("7", "2"),  # -.5 of one question; .1, -.2 and .3 in each of two rollouts of the other
    }
    assert float(rows["documents"]["gain"]) == 1.5
    assert rows["documents"]["gain_95_low"] == ""  # one question has no interval
    assert float(rows["neither"]["gain"]) == pytest.approx((-0.5 + (0.1 - 0.2 + 0.3) / 3) / 2, abs=1e-6)
    assert float(rows["neither"]["gain_without_refine"]) == pytest.approx(
        float(rows["neither"]["gain"]) - 0.25, abs=1e-6
    )
    assert "| ig_search | only the refine says it | 1 | 1 | +0.50 | – | +0.25 |" in (written / "gains.md").read_text()
