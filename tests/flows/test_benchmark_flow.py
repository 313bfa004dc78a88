"""The flow's own few decisions: overrides, cache keys, retries, deployments."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.exceptions import ParameterTypeError
from prefect.states import Failed

from flows import benchmark
from flows.run import run
from flows.serve import deployments
from igsearch.config import load
from igsearch.errors import UserError
from igsearch.methods import METHODS
from igsearch.stages import layout, rule
from igsearch.stages.launch import Overrides, StageFailed
from igsearch.stages.rule import Plan
from igsearch.stages.table import STAGES, Job

SMALL = (
    "world.works=16", "world.persons=24", "world.cities=12", "world.companies=12", "world.regions=4",
    "world.train_questions=24", "world.validation_questions=6", "world.test_questions=6",
)  # fmt: skip
NONE: Any = SimpleNamespace()


@pytest.mark.parametrize(
    ("error", "again"), [(OSError("disk"), True), (UserError("mistake"), False), (StageFailed("bug"), False)]
)
def test_only_failed_input_or_output_is_retried(error: Exception, again: bool) -> None:
    """Prefect asks with a state whose data is the exception."""
    assert benchmark.input_or_output_failed(NONE, NONE, Failed(data=error)) is again
    assert benchmark.stage.retries == 2


def test_parameters_become_settings() -> None:
    made = benchmark.options("micro", ["grpo"], [3, 4], 7, ["retrieval.k=2"])
    config = load(made.profile, made.sets)
    assert (config.profile, config.benchmark.methods, config.benchmark.seeds) == ("micro", ("grpo",), (3, 4))
    assert (config.train.steps, config.retrieval.k) == (7, 2)
    assert benchmark.options(None, None, None, None, None) == Overrides()


def test_what_the_settings_tell_is_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(load("micro", ["train.group_size=1"]).to_yaml(), encoding="utf-8")
    with pytest.raises(UserError, match="group size must be at least 2"):
        run([None])
    with pytest.raises(UserError, match="the questions of nq have none"):
        benchmark.igsearch.fn(None, ["stepsearch_reward"], settings=["train.group_size=8", "data.train=[nq]"])
    assert [each.name for each in tmp_path.iterdir()] == ["params.yaml"]


def test_methods_all_is_a_parameter_beside_a_list() -> None:
    made = benchmark.options("micro", "all", None, None, None)
    assert load(made.profile, made.sets).benchmark.methods == tuple(METHODS)
    flow = benchmark.igsearch
    assert flow.validate_parameters({"methods": "all"})["methods"] == "all"
    assert flow.validate_parameters({"methods": ["grpo"]})["methods"] == ["grpo"]
    with pytest.raises(ParameterTypeError):
        flow.validate_parameters({"methods": "al"})


def test_the_cache_key_is_the_input_digest_while_the_card_is_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"job": "prepare", "overrides": Overrides(None, SMALL)}
    assert benchmark.cache_key(NONE, given) is None
    where = layout.of(load(None, SMALL))
    job = Job(STAGES["prepare"])
    rule.lay_foundations(job, where, lambda _: None, rule.quiet)
    rule.run(job, where, say=lambda _: None)
    assert benchmark.cache_key(NONE, given) == f"prepare-{Plan(job, where).digest}"
    (where.at("artifacts/prepared") / "nq/test.jsonl").unlink()
    assert benchmark.cache_key(NONE, given) is None


def test_there_is_a_deployment_for_everything_and_for_each_stage() -> None:
    assert set(deployments()) == {"full-benchmark", *(name.replace("_", "-") for name in STAGES)}
    assert deployments()["full-benchmark"] is None
    assert deployments()["warm-start"] == ["warm_start"]
