"""The stage that makes the tables: it reads the benchmark's own runs, and of these what it declares."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from made_results import evaluation, examined_rows, training_run

from igsearch.config import build, load
from igsearch.evaluation import store
from igsearch.provenance import digest_tree, write_json, write_jsonl
from igsearch.stages import dvc, layout, rule, table
from igsearch.stages.rule import Plan
from igsearch.stages.table import STAGES, Job

METHODS, SEEDS = ("grpo", "ig_search"), (0, 1)
TABLES = Job(STAGES["tables"])


def evaluate(method: str, seed: int | None, skill: float) -> None:
    """What `igsearch evaluate` leaves."""
    made, run = evaluation(method, seed, skill), method if seed is None else f"{method}-{seed}"
    out = Path("artifacts/evaluate") / run
    store.write_records(out / store.RECORDS, made.records)
    write_json(out / store.CONTRACT, made.contract.as_json())
    write_json(out / store.SUMMARY, {"subject": asdict(made.subject), "partial": []})
    (out / store.TRAJECTORIES).touch()


def train(method: str, seed: int, skill: float) -> None:
    """What of a training run the tables read, and a policy, which they do not."""
    out = Path("artifacts/train") / f"{method}-{seed}"
    rows = [{"step": step, **metrics} for step, metrics in training_run(method, seed, skill).steps]
    write_jsonl(out / "metrics.jsonl", rows)
    (out / "policy").mkdir()
    (out / "policy" / "weights").write_text(method, encoding="utf-8")


def examine(method: str, seed: int) -> None:
    """What of an examination the figures read."""
    write_jsonl(Path("artifacts/examine") / f"{method}-{seed}" / "rollouts.jsonl", examined_rows(0.3))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose benchmark of two methods and two seeds has been run."""
    monkeypatch.chdir(tmp_path)
    benchmark = {"methods": list(METHODS), "seeds": list(SEEDS), "bases": ["grpo"]}
    Path("params.yaml").write_text(build({"benchmark": benchmark}).to_yaml(), encoding="utf-8")
    evaluate("warm_start", None, 0.3)
    for method in METHODS:
        examine(method, SEEDS[0])
        for seed in SEEDS:
            train(method, seed, 0.8)
            evaluate(method, seed, 0.8)
    return tmp_path


def make_tables() -> rule.Done:
    return rule.run(TABLES, layout.of(load()), say=lambda _: None)


def results() -> dict[str, str]:
    return {str(path): digest_tree(path) for path in sorted(Path("results").rglob("*")) if path.is_file()}


def test_a_run_beside_the_benchmark_changes_neither_the_tables_nor_what_they_depend_on(here: Path) -> None:
    make_tables()
    before, plan = results(), Plan(TABLES, layout.of(load()))
    train("grpo", 7, 0.1)
    evaluate("grpo", 7, 0.1)
    train("rloo", 0, 0.9)
    evaluate("rloo", 0, 0.9)
    assert Plan(TABLES, layout.of(load())).digest == plan.digest
    assert make_tables().reused
    shutil.rmtree("results")
    assert not make_tables().reused
    assert results() == before
    assert set(json.loads(Path("results/metrics.json").read_text(encoding="utf-8"))) == {"warm_start", *METHODS}


def test_what_is_read_of_a_run_makes_the_tables_stale_and_nothing_else_of_it_does(here: Path) -> None:
    make_tables()
    Path("artifacts/train/grpo-0/policy/weights").write_text("others", encoding="utf-8")
    assert make_tables().reused
    with Path("artifacts/train/grpo-0/metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 61, "reward/uniform_groups": 0.5}\n')
    assert Plan(TABLES, layout.of(load())).stale() == "changed: data artifacts/train/grpo-0/metrics.jsonl"


def test_everything_the_stage_needs_is_declared(here: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """With nothing but its inputs there, it makes the same tables."""
    make_tables()
    before, bare = results(), tmp_path_factory.mktemp("bare")
    for name in ("params.yaml", *Plan(TABLES, layout.of(load())).input_names):
        (bare / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if Path(name).is_dir() else shutil.copy2)(name, bare / name)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(bare)
        make_tables()
        assert results() == before


@pytest.mark.parametrize("profile", ["embedded", "all"])
def test_dvc_is_told_of_the_runs_of_the_benchmark_one_by_one(profile: str) -> None:
    config = load(profile)
    for folder in (Path(), Path("experiments/mine")):
        told = yaml.safe_load(dvc.text(config, folder))["stages"]["tables"]["deps"]
        assert tuple(name for name in told if name.startswith("artifacts/")) == table.inputs(TABLES, config)
