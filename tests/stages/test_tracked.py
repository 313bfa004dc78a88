"""What evaluations tell MLflow, where their process dies in between."""

import shutil
from pathlib import Path

import pytest

from igsearch.config import build
from igsearch.provenance import digest_json, write_json
from igsearch.stages import layout, tracked
from igsearch.stages.table import INDEX, PREPARED, STAGES, Job

INPUTS = {f"data {PREPARED}": "a" * 64, f"data {INDEX}": "b" * 64}
GROUP = {"n": 1, "em": 1.0, "f1": 1.0, "cover_em": 1.0}


def test_an_evaluation_killed_between_mlflow_and_its_card_goes_on_with_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of the start policy, which no training run names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config = build({"tracking": {"traces": 0}})
    Path("params.yaml").write_text(config.to_yaml(), encoding="utf-8")
    summary = {"subject": {}, "partial": [], "benchmarks": {"nq": GROUP}, "average": GROUP, "all": GROUP}
    write_json(tmp_path / "evaluation" / "summary.json", summary)
    work = layout.work(digest_json(INPUTS))
    work.mkdir(parents=True)

    def track() -> str:
        job = Job(STAGES["evaluate_warm_start"])
        return tracked.track(job, layout.of(config), INPUTS, tmp_path / "evaluation")

    first = track()
    assert track() == first
    shutil.rmtree(work)  # the card has been written
    assert track() != first
