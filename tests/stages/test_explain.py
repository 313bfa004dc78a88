"""`igsearch explain`: every cell of the tables is what its records give, and what it rests on is named."""

import csv
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

import pytest
from made_results import evaluation, training_run
from typer.testing import CliRunner, Result

from igsearch.cli.entry import app
from igsearch.config import build, load
from igsearch.evaluation import store
from igsearch.provenance import Card, digest_file, digest_tree, write_json, write_jsonl
from igsearch.reporting import tables
from igsearch.reporting.results import Design
from igsearch.stages import layout

SEEDS = (0, 1, 2)
SKILLS = {"grpo": 0.6, "ig_search": 0.8}
MAIN = Path("results/tables/main.csv")


def write_evaluation(made: store.Evaluation, run: str) -> None:
    """What `igsearch evaluate` leaves, trajectories in another order than records, and its card."""
    out = Path("artifacts/evaluate") / run
    store.write_records(out / store.RECORDS, made.records)
    write_json(out / store.CONTRACT, made.contract.as_json())
    write_json(out / store.SUMMARY, {"subject": asdict(made.subject), "partial": []})
    write_jsonl(out / store.TRAJECTORIES, [{"uid": record.uid} for record in reversed(made.records)])
    name = "evaluate_warm_start" if run == "warm_start" else f"evaluate-{run}"
    inputs = {"data artifacts/prepared": "p", "data artifacts/index/card.json": "i"}
    outputs = {f"artifacts/evaluate/{run}": digest_tree(out)}
    Card(name, "d", inputs, outputs, "igsearch evaluate", "c" * 40, "r" * 32).write(
        Path(f"artifacts/cards/{name}.json")
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with records, training histories and the tables that they give."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_project()
    return folder


@pytest.fixture
def here(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project to work in."""
    monkeypatch.chdir(shutil.copytree(project, tmp_path / "project"))
    Path("results/tables/gains.csv").write_text("method,n\ngrpo,1\n", encoding="utf-8")
    return Path.cwd()


def make_project() -> None:
    """Of two methods with three seeds each."""
    benchmark = {"methods": list(SKILLS), "seeds": list(SEEDS), "bases": ["grpo"]}
    Path("params.yaml").write_text(build({"benchmark": benchmark}).to_yaml(), encoding="utf-8")
    made = {"warm_start": evaluation("warm_start", None, 0.3)}
    made |= {f"{name}-{seed}": evaluation(name, seed, skill) for name, skill in SKILLS.items() for seed in SEEDS}
    for run, each in made.items():
        write_evaluation(each, run)
    training = [training_run(name, seed, skill) for name, skill in SKILLS.items() for seed in SEEDS]
    for run in training:
        rows = [{"step": step, **metrics} for step, metrics in run.steps]
        write_jsonl(Path(f"artifacts/train/{run.method}-{run.seed}/metrics.jsonl"), rows)
    config = load()
    per_step = config.train.prompts_per_step * config.train.group_size
    tables.write(list(made.values()), training, [], MAIN.parent, Design(per_step, ("grpo",), config.rollout.prompt))


def explain(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["explain", *arguments], prog_name="igsearch")


def cells(name: str) -> list[tuple[str, str, str]]:
    """Method, column and value of the figures of one table."""
    with (MAIN.parent / f"{name}.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    skipped = {"method", "inference", "seeds", "synthetic", "partial", "metric", "questions", "table", "base", "figure"}
    return [
        (row["method"], column, value)
        for row in rows
        for column, value in row.items()
        if value and column not in skipped
    ]


def test_a_cell_is_the_mean_over_seeds_of_right_answers_over_questions(here: Path) -> None:
    result = explain(str(MAIN), "ig_search", "hotpotqa")
    assert result.exit_code == 0, result.output
    shares = []
    for seed in SEEDS:
        records = store.read_records(Path(f"artifacts/evaluate/ig_search-{seed}/records.parquet"))
        right = [record.em for record in records if record.benchmark == "hotpotqa"]
        assert f"{int(sum(right))} right of {len(right)}" in result.stdout
        shares.append(sum(right) / len(right))
    assert f"hotpotqa = {fmean(shares):.6f}" in result.stdout
    assert f"{fmean(shares):.6f}, the same" in result.stdout


def test_records_examples_digests_and_commands_are_named(here: Path) -> None:
    told = explain(str(MAIN), "ig_search", "musique").stdout
    records = Path("artifacts/evaluate/ig_search-1/records.parquet")
    assert str(records) in told
    assert digest_file(records) in told
    assert told.count("as its card says") == len(SEEDS)
    assert load().digest in told
    assert store.load(records.parent).contract.digest in told
    for command in ("igsearch train --method ig_search --seed 2", "dvc repro evaluate@ig_search-2", "igsearch report"):
        assert command in told
    assert "benchmark.methods=" in told
    assert "alpha=0.3" in told


def test_examples_are_found_at_their_lines(here: Path) -> None:
    told = explain(str(MAIN), "grpo", "musique").stdout.split("\n")
    shown = [i for i, line in enumerate(told) if "trajectories.jsonl:" in line]
    assert {told[i].split(":")[0].strip() for i in shown} == {"right", "wrong"}
    for i in shown:
        path, number = told[i].split(": ")[1].split(":")
        line = Path(path).read_text(encoding="utf-8").split("\n")[int(number) - 1]
        uid = told[i + 1].split(": ")[0].strip()
        assert json.loads(line)["uid"] == uid
        assert uid.startswith("musique/")


@pytest.mark.parametrize("column", ["macro", "macro average", "micro", "macro_95_low", "nq_seed_high"])
def test_averages_and_ends_of_intervals_are_the_same_from_the_records(here: Path, column: str) -> None:
    for metric in ("em", "f1"):
        result = explain(str(MAIN), "grpo", column, "--metric", metric)
        assert result.exit_code == 0, result.output
        assert "the same" in result.stdout


def test_hops_diagnostics_and_costs_open_down_to_histories_too(here: Path) -> None:
    hops = explain("results/tables/by_hops.csv", "ig_search", "3")
    assert "the same" in hops.stdout
    for name in ("diagnostics", "costs"):
        method, column, value = next(cell for cell in cells(name) if cell[0] == "ig_search")
        told = explain(f"results/tables/{name}.csv", method, column).stdout
        assert f"{column} = {value}" in told
        assert f"{value}, the same" in told
        assert "artifacts/train/ig_search-0/metrics.jsonl" in told


def test_a_difference_names_the_records_of_both_methods(here: Path) -> None:
    result = explain("results/tables/differences.csv", "ig_search", "macro")
    assert result.exit_code == 0, result.output
    assert "ig_search grpo em macro average, points = " in result.stdout
    assert "mean over 3 seeds: " in result.stdout
    assert "artifacts/evaluate/grpo-2/records.parquet" in result.stdout
    assert "artifacts/evaluate/ig_search-2/records.parquet" in result.stdout


def test_an_untrained_policy_has_no_training(here: Path) -> None:
    told = explain(str(MAIN), "warm_start", "nq").stdout
    assert "dvc repro evaluate_warm_start" in told
    assert "igsearch train" not in told


def test_a_table_that_its_records_do_not_give_is_an_error(here: Path) -> None:
    shown = next(value for method, column, value in cells("main") if (method, column) == ("grpo", "nq"))
    MAIN.write_text(MAIN.read_text(encoding="utf-8").replace(shown, "0.123456", 1), encoding="utf-8")
    result = explain(str(MAIN), "grpo", "nq")
    assert result.exit_code == 2
    assert "NOT the same" in result.output
    assert f"shows 0.123456 where the records that lie there now give {shown}" in result.output


def test_changed_records_are_told(here: Path) -> None:
    write_jsonl(Path("artifacts/evaluate/grpo-0/trajectories.jsonl"), [])
    told = explain(str(MAIN), "grpo", "nq").stdout
    assert "NOT as its card says" in told
    assert "not in artifacts/evaluate/grpo-0/trajectories.jsonl" in told


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((str(MAIN), "ig_serch", "nq"), "did you mean 'ig_search'?"),
        ((str(MAIN), "ig_search", "hotpot"), "did you mean 'hotpotqa'?"),
        ((str(MAIN), "ig_search", "nq", "--metric", "f2"), "has no metric 'f2'"),
        (("results/tables/by_hops.csv", "ig_search", "nq"), "numbers of hops, not 'nq'"),
        (("results/tables/published.csv", "GiGPO", "nq"), "quotes what others printed"),
        (("results/tables/gains.csv", "grpo", "nq"), "from examined rollouts"),
        (("results/tables/none.csv", "grpo", "nq"), "is missing"),
        (("results/tables/main.md", "grpo", "nq"), "no table with a column `method`"),
    ],
)
def test_what_is_no_cell_is_told_in_a_sentence(here: Path, arguments: tuple[str, ...], sentence: str) -> None:
    result = explain(*arguments)
    assert result.exit_code == 2
    assert sentence in result.output


def test_a_table_of_another_configuration_is_not_taken_for_the_projects(here: Path) -> None:
    elsewhere = here / "elsewhere" / "main.csv"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(MAIN.read_bytes())
    result = explain(str(elsewhere), "grpo", "nq")
    assert result.exit_code == 2
    assert "not a table of the project" in result.output


def test_an_experiments_table_brings_its_own_configuration(here: Path) -> None:
    folder = layout.EXPERIMENTS / "mine"
    folder.mkdir(parents=True)
    own = build({"benchmark": {"methods": ["grpo"], "seeds": [0, 1, 2], "bases": ["grpo"]}})
    (folder / "params.yaml").write_text(own.to_yaml(), encoding="utf-8")
    for name in ("artifacts", "results"):
        shutil.copytree(name, folder / name)
    told = explain(str(folder / MAIN), "grpo", "nq").stdout
    assert "experiments/mine/artifacts/evaluate/grpo-0/records.parquet" in told
    assert "igsearch train --method grpo --seed 0 --profile experiments/mine" in told
    assert "dvc --cd experiments/mine repro evaluate@grpo-0" in told
    assert own.digest in told
