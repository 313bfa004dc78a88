"""Experiments: folders with a params.yaml and a dvc.yaml of their own, whose work is shared where it is equal."""

from pathlib import Path

import pytest

from igsearch.config import METHODS, build, load
from igsearch.errors import UserError
from igsearch.stages import dvc, layout, rule, table, versions
from igsearch.stages.layout import Layout
from igsearch.stages.rule import Plan
from igsearch.stages.table import STAGES, Job

PROJECT = Path(__file__).resolve().parents[2]
SMALL = {
    "world": {"works": 16, "persons": 24, "cities": 12, "companies": 12, "regions": 4}
    | {"train_questions": 24, "validation_questions": 6, "test_questions": 6}
}
NAMES = sorted(path.parent.name for path in (PROJECT / "experiments").glob("*/params.yaml"))
PREPARE = Job(STAGES["prepare"])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of a small world, and an experiment on it with another learning rate."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(build(SMALL).to_yaml(), encoding="utf-8")
    dvc.write_experiment(Path("experiments/faster"), build({**SMALL, "train": {"learning_rate": 0.1}}))
    return tmp_path


def bring(where: Layout) -> list[str]:
    said: list[str] = []
    rule.lay_foundations(PREPARE, where, said.append, rule.quiet)
    rule.run(PREPARE, where, say=said.append)
    return said


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_is_what_its_profile_and_the_table_say(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    config, folder = dvc.experiment(name), Path("experiments") / name
    told = "run `python -m igsearch.stages.dvc`"
    assert (folder / "params.yaml").read_text(encoding="utf-8") == config.to_yaml(), told
    assert (folder / "dvc.yaml").read_text(encoding="utf-8") == dvc.text(config, folder), told
    assert load(str(folder)) == config


def test_all_is_every_method_against_grpo() -> None:
    benchmark = load("all").benchmark
    assert benchmark.methods == tuple(METHODS)
    assert (benchmark.bases, benchmark.seeds) == (("grpo",), (0, 1, 2))


def test_methods_all_over_the_default_is_the_experiment_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """`prefect deployment run … -p methods=all` and `make benchmark-all` fill one folder."""
    monkeypatch.chdir(PROJECT)
    for config in (load(None, ["benchmark.methods=all"]), load("all"), load("experiments/all")):
        where = layout.of(config)
        assert (where.title, where.config.profile) == ("experiments/all", "all")


def test_an_experiment_has_folders_of_its_own_and_takes_over_what_the_project_has_made(here: Path) -> None:
    bring(layout.of(load()))
    where = layout.of(load("experiments/faster"))
    said = bring(where)
    assert where.at("artifacts/prepared") == Path("experiments/faster/artifacts/prepared")
    assert where.at("corpus") == Path("experiments/faster/data/corpus.jsonl")
    assert said[-1] == "prepare: taken over from prepare of the project, which has the same inputs"
    assert Plan(PREPARE, where).stale() is None


def test_the_project_takes_nothing_over_and_experiments_take_from_each_other(here: Path) -> None:
    where = layout.of(load("experiments/faster"))
    bring(where)
    assert bring(layout.of(load()))[-1] == "prepare: never made"
    dvc.write_experiment(Path("experiments/slower"), build({**SMALL, "train": {"learning_rate": 0.01}}))
    other = layout.of(load("experiments/slower"))
    for card in Path("artifacts/cards").iterdir():
        card.unlink()
    assert bring(other)[-1] == "prepare: taken over from prepare of experiments/faster, which has the same inputs"


def test_dvc_runs_an_experiment_in_the_project_folder(here: Path) -> None:
    text = Path("experiments/faster/dvc.yaml").read_text(encoding="utf-8")
    assert "cd ../.. && python -m igsearch world --profile experiments/faster\n" in text
    assert "- ../../igsearch/credit/grpo.py\n" in text
    assert "__pycache__" not in text
    assert versions.tracked(Path("experiments/faster"))
    assert "- artifacts/prepared\n" in text
    own = build({"data": {"synthetic": False, "corpus": "mine/passages.jsonl", "questions": "/abs/questions"}})
    other = dvc.text(own, Path("experiments/faster"))
    assert "world:" not in other
    assert "- ../../${data.corpus}\n" in other
    assert "- ${data.questions}\n" in other


def test_the_world_is_raw_data_of_the_project_and_a_stage_of_an_experiment() -> None:
    assert versions.target(Job(STAGES["train"], "grpo", 0), Path("experiments/all")) == "train@grpo-0"
    assert versions.target(Job(STAGES["world"])) == "data.dvc"
    assert versions.target(Job(STAGES["world"]), Path("experiments/all")) == "world"


def test_a_whole_pipeline_is_entered_into_dvc_lock_at_once() -> None:
    config = build({})
    project, experiment = Layout(config), Layout(config, experiment="all")
    jobs = table.benchmark(config)
    assert versions.targets(jobs, project) == ["data.dvc", "dvc.yaml"]
    assert versions.targets(jobs, experiment) == ["dvc.yaml"]
    some = [job for job in jobs if job.stage.name in ("world", "index")]
    assert versions.targets(some, project) == ["data.dvc", "index"]


def test_a_folder_without_params_is_no_profile(here: Path) -> None:
    with pytest.raises(UserError, match="unknown profile 'experiments'"):
        load("experiments")
