"""The three doors and the plain command line lead to the same work. The tests build on one another, in this order."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
from project_copy import Run, make

RUNS = ("train-grpo-0", "train-ig_search-0", "evaluate-grpo-0", "evaluate-ig_search-0", "evaluate_warm_start")


def stale(run: Run) -> set[str]:
    """The stages of the project that DVC would run again; the experiments have never run in the copy."""
    listed = json.loads(run("dvc", "status", "--json").stdout)
    return {name for name in listed if not name.startswith("experiments/")}


def cards(project: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in (project / "artifacts/cards").iterdir()}


def test_data_come_out_as_pinned_and_dvc_has_them(project: Path, run: Run) -> None:
    """`make data` for the profile of params.yaml; for the default one data.dvc does not change."""
    run("igsearch", "config", "use", "embedded")
    make(run, "data")
    assert run("git", "diff", "--exit-code", "data.dvc").stdout == ""
    assert json.loads(run("dvc", "status", "--json", "data.dvc").stdout) == {}
    shutil.rmtree(project / "data")
    run("dvc", "checkout", "data.dvc")
    assert (project / "data" / "corpus.jsonl").is_file()
    run("igsearch", "config", "use", "micro")
    make(run, "data")


def test_make_data_leaves_dvc_alone_where_there_is_no_world(project: Path, run: Run) -> None:
    before = (project / "data.dvc").read_bytes()
    run("igsearch", "config", "use", "laptop")
    (project / "data").rename(project / "kept")
    assert "there is no world to write" in make(run, "data").stderr
    assert (project / "data.dvc").read_bytes() == before
    (project / "kept").rename(project / "data")
    run("igsearch", "config", "use", "micro")


def test_make_clean_removes_the_world_and_leaves_other_files(project: Path, run: Run, tmp_path: Path) -> None:
    shutil.copytree(project / "data", tmp_path / "data")
    (tmp_path / "data/mine.jsonl").touch()
    run("make", "-f", str(project / "Makefile"), "-C", str(tmp_path), "clean")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["mine.jsonl"]


def test_dvc_repro_makes_the_tables(project: Path, run: Run) -> None:
    run("dvc", "repro")
    with (project / "results/tables/main.csv").open(encoding="utf-8", newline="") as file:
        methods = {row["method"] for row in csv.DictReader(file)}
    assert {"grpo", "ig_search", "warm_start"} <= methods
    assert set(RUNS) <= set(cards(project))
    assert (project / "results/plots").is_dir()
    assert json.loads((project / "results/metrics.json").read_text(encoding="utf-8"))


def test_dvc_repro_again_has_nothing_to_do(run: Run) -> None:
    assert "Data and pipelines are up to date." in run("dvc", "repro").stdout
    assert stale(run) == set()


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("methods.ig_search.alpha=0.9", {"train@ig_search-0", "examine@ig_search-0"}),
        ("train.learning_rate=0.5", {"train@grpo-0", "train@ig_search-0"}),
        ("evaluation.batch_size=9", {"evaluate@grpo-0", "evaluate@ig_search-0", "evaluate_warm_start"}),
        ("retrieval.heap=2g", set()),
    ],
)
def test_a_changed_parameter_makes_only_its_dependents_stale(
    setting: str, expected: set[str], project: Path, run: Run
) -> None:
    before = (project / "params.yaml").read_bytes()
    run("igsearch", "config", "set", setting)
    try:
        assert stale(run) == expected
    finally:
        (project / "params.yaml").write_bytes(before)
    assert stale(run) == set()


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("credit/ig_search.py", {"train@grpo-0", "train@ig_search-0", "examine@grpo-0", "examine@ig_search-0"}),
        ("reporting/tables.py", {"tables"}),
        ("training/demonstrations.py", {"warm_start"}),
        ("cli/show.py", set()),
    ],
)
def test_a_changed_module_makes_only_its_dependents_stale(
    module: str, expected: set[str], project: Path, run: Run
) -> None:
    path = project / "igsearch" / module
    before = path.read_bytes()
    path.write_bytes(before + b"\n# changed\n")
    try:
        assert stale(run) == expected
        if "train@grpo-0" in expected:
            told = run("igsearch", "train", "--method", "grpo", "--dry-run").stdout
            assert f"(changed: module {module.split('/')[0]})" in told
    finally:
        path.write_bytes(before)
    assert stale(run) == set()


def test_the_plain_command_line_finds_everything_up_to_date(project: Path, run: Run) -> None:
    before = cards(project)
    told = run("igsearch", "benchmark")
    assert len(re.findall("up to date, reused", told.stderr)) == len(before)
    assert "EM by benchmark (synthetic data)" in told.stdout
    assert cards(project) == before


def test_the_flow_reuses_what_dvc_made_and_leaves_dvc_clean(project: Path, run: Run) -> None:
    before = cards(project)
    lock = (project / "dvc.lock").read_bytes()
    told = make(run, "benchmark")
    assert len(re.findall(r"up to date, reused|Cached", told.stdout + told.stderr)) >= len(before)
    assert "EM by benchmark (synthetic data)" in told.stdout
    assert "results/tables/" in told.stdout
    assert "make up" in told.stdout
    assert cards(project) == before
    assert (project / "dvc.lock").read_bytes() == lock
    assert stale(run) == set()


def test_mlflow_has_a_parent_and_its_children(project: Path, run: Run) -> None:
    code = (
        "import json; from igsearch import tracking; client, experiment = tracking.open_store(); "
        "print(json.dumps([[r.info.run_name, r.info.run_id, r.info.status, r.data.tags, r.data.metrics, r.data.params] "
        "for r in client.search_runs([experiment])]))"
    )
    runs = {name: rest for name, *rest in json.loads(run("python", "-c", code).stdout)}
    assert set(runs) == {"benchmark, micro", "grpo-0", "ig_search-0", "warm_start"}
    parent, status, tags, told, _ = runs["benchmark, micro"]
    assert status == "FINISHED"
    assert tags["partial"] == "no"
    assert {f"main/{method}/em/macro_95_low" for method in ("grpo", "ig_search", "warm_start")} <= set(told)
    for name in ("grpo-0", "ig_search-0"):
        _, status, tags, metrics, params = runs[name]
        assert status == "FINISHED"
        assert tags["mlflow.parentRunId"] == parent
        assert {"git_commit", "config_digest", "data_digest"} <= set(tags)
        assert {"main/em/macro", "main/em/macro_95_low", "partial"} <= set(metrics)
        assert {f"em/{name}" for name in ("nq", "triviaqa", "popqa", "hotpotqa", "bamboogle", "macro", "micro")} <= set(
            metrics
        )
        assert (params["method"], params["seed"]) == (name.split("-")[0], "0")


def test_an_experiment_takes_over_the_projects_runs_and_leaves_its_dvc_clean(project: Path, run: Run) -> None:
    """Only the tables are made: the experiment has base methods, the project has none."""
    run("igsearch", "config", "use", "micro", "--experiment", "mini", "--set", "benchmark.bases=[grpo]")
    told = run("dvc", "--cd", "experiments/mini", "repro")
    assert len(re.findall("taken over from .* of the project", told.stdout + told.stderr)) == len(cards(project)) - 1
    tables = project / "experiments/mini/results/tables"
    assert "| ig_search | grpo | 1 |" in (tables / "differences.md").read_text(encoding="utf-8")
    assert json.loads(run("dvc", "--cd", "experiments/mini", "status", "--json").stdout) == {}
    assert stale(run) == set()


def test_the_microscope_shows_the_examined_rollouts_of_two_runs(project: Path, run: Run) -> None:
    told = run("igsearch", "microscope", "ig_search-0", "--against", "grpo-0", "--out", "page.html").stderr
    assert "examine-ig_search-0: up to date, reused" in told  # the benchmark has examined them
    page = (project / "page.html").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in _rollouts(project, "ig_search-0")]
    assert all(row["question"] in page for row in rows)
    assert f"page.html: {len(rows)} rollouts of {len({row['uid'] for row in rows})} questions" in told


def _rollouts(project: Path, name: str) -> list[str]:
    text = (project / "artifacts" / "examine" / name / "rollouts.jsonl").read_text(encoding="utf-8")
    return text.split("\n")[:-1]


def test_a_question_that_was_not_examined_is_examined_for_its_page(project: Path, run: Run) -> None:
    known = {json.loads(line)["uid"] for line in _rollouts(project, "ig_search-0")}
    uid = next(f"nq/test_{i}" for i in range(12) if f"nq/test_{i}" not in known)
    told = run("igsearch", "microscope", "ig_search-0", "--question", uid, "--out", "one.html").stderr
    assert "one.html: 4 rollouts of 1 questions" in told
    assert uid in (project / "one.html").read_text(encoding="utf-8")
    assert (
        "unknown test question 'nq/nothing'"
        in run("igsearch", "microscope", "ig_search-0", "--question", "nq/nothing", code=2).stderr
    )


def test_whatif_measures_a_search_again_and_with_other_documents(project: Path, run: Run) -> None:
    row = next(
        row for row in map(json.loads, _rollouts(project, "ig_search-0")) if row["steps"] and row["steps"][0]["gain"]
    )
    (project / "passage.txt").write_text(f"{row['answers'][0]} .", encoding="utf-8")
    told = run("igsearch", "whatif", "ig_search-0", "--episode", row["id"], "--documents", "passage.txt").stdout
    assert f"{row['steps'][0]['gain']['gain']:+.3f}" in next(line for line in told.split("\n") if "as it was" in line)
    assert f"what if it had read: {row['answers'][0]} ." in told
    asked = run("igsearch", "whatif", "ig_search-0", "--episode", row["id"], "--query", row["question"]).stdout
    assert "what if" in asked


def test_whatif_tells_what_it_does_not_know(project: Path, run: Run) -> None:
    first = json.loads(_rollouts(project, "ig_search-0")[0])["id"]
    for options, sentence in {
        (): "what if what? Give another --query, other --documents, or both",
        ("--query", "x", "--step", "9"): "searches: --step 9 is none of them",
        ("--documents", "nowhere.txt"): "documents nowhere.txt does not exist; check the path",
    }.items():
        assert sentence in run("igsearch", "whatif", "ig_search-0", "--episode", first, *options, code=2).stderr
    told = run("igsearch", "whatif", "ig_search-0", "--episode", "nq/none#0", "--query", "x", code=2).stderr
    assert "unknown rollout 'nq/none#0'" in told
