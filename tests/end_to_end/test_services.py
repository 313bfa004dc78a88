"""`make up`, the plain `prefect deployment run`, kill -9 and again, `make down`. In this order."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from project_copy import Run, environment, make

OVERRIDES = ("-p", 'methods=["ig_search"]', "-p", "steps=12", "-p", 'settings=["train.validation_questions=0"]')


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def ports() -> dict[str, str]:
    return {"PREFECT_PORT": str(free_port()), "MLFLOW_PORT": str(free_port())}


@pytest.fixture(scope="module")
def up(project: Path, run: Run, ports: dict[str, str]) -> Iterator[dict[str, str]]:
    """The environment of a second terminal, with the services running."""
    told = make(run, "up", **ports).stdout
    assert re.findall(r"^([^:\n]+): ", told, flags=re.MULTILINE) == ["Prefect server", "MLflow UI", "deployments"]
    yield {"PREFECT_API_URL": f"http://127.0.0.1:{ports['PREFECT_PORT']}/api", **ports}
    make(run, "down", **ports)


def services(project: Path) -> dict[str, psutil.Process]:
    listed = json.loads((project / ".run/services.json").read_text(encoding="utf-8"))
    return {each["name"]: psutil.Process(each["pid"]) for each in listed}


def wait_for(what: str, folder: Path, pattern: str) -> Path:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        found = next(folder.glob(pattern), None)
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"no {what} ({pattern}) in {folder}")


def test_up_again_shows_what_runs(project: Path, run: Run, up: dict[str, str]) -> None:
    before = {name: process.pid for name, process in services(project).items()}
    assert f"http://127.0.0.1:{up['MLFLOW_PORT']}" in make(run, "up", **up).stdout
    assert {name: process.pid for name, process in services(project).items()} == before


def test_up_starts_a_service_that_has_died_and_leaves_the_others(project: Path, run: Run, up: dict[str, str]) -> None:
    before = services(project)
    died = before["deployments"]
    died.kill()
    died.wait()
    assert "deployments: " in make(run, "up", **up).stdout
    after = services(project)
    assert after["deployments"].is_running()
    assert after["deployments"].pid != died.pid
    assert {name: each.pid for name, each in after.items() if name != "deployments"} == {
        name: each.pid for name, each in before.items() if name != "deployments"
    }


def test_a_port_in_use_is_one_sentence(tmp_path: Path, project: Path, up: dict[str, str]) -> None:
    command = ["python", "-m", "flows.services", "up"]
    done = subprocess.run(command, cwd=tmp_path, env={**environment(project), **up}, capture_output=True, text=True)
    assert done.returncode == 2
    port = up["PREFECT_PORT"]
    assert done.stderr == f"error: port {port} is in use; end what uses it or choose another with PREFECT_PORT=…\n"


def test_every_stage_has_a_deployment(run: Run, up: dict[str, str]) -> None:
    told = run("prefect", "deployment", "ls", **up, COLUMNS="200").stdout
    for name in ("full-benchmark", "index", "prepare", "warm-start", "train", "evaluate", "tables"):
        assert f"igsearch/{name} " in told


def test_killed_with_9_the_flow_repeats_only_what_was_unfinished(project: Path, run: Run, up: dict[str, str]) -> None:
    """The flow dies while it trains and takes its processes with it; the next run goes on from the checkpoint."""
    run("prefect", "deployment", "run", "igsearch/full-benchmark", *OVERRIDES, **up)
    wait_for("checkpoint", project / "artifacts/.work", "*/training/checkpoints/000004")
    serving = services(project)["deployments"]
    (flow,) = serving.children()
    family = flow.children(recursive=True)
    assert any("train" in each.cmdline() for each in family)
    os.kill(flow.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive
    made = next((project / "artifacts/runs").glob("*/cards"))
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    assert {"warm_start.json", "index.json", "prepare.json"} <= set(before)
    assert "train-ig_search-0.json" not in before
    noted = next((project / "artifacts/.work").glob("*/mlflow_run")).read_text(encoding="utf-8")

    told = run("prefect", "deployment", "run", "igsearch/full-benchmark", "--watch", *OVERRIDES, **up).stdout
    assert "finished successfully" in told
    after = {path.name: path.read_bytes() for path in made.iterdir()}
    assert {name: after[name] for name in before} == before
    assert json.loads(after["train-ig_search-0.json"])["run_id"] == noted
    metrics = (made.parent / "train/ig_search-0/metrics.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert [json.loads(line)["step"] for line in metrics] == list(range(1, 13))
    assert (made.parent / "results/tables/main.md").is_file()


def test_a_flow_with_overrides_leaves_the_project_alone(project: Path, run: Run) -> None:
    assert run("git", "status", "--short", "dvc.lock", "results").stdout == ""
    assert [path.name for path in (project / "artifacts/cards").iterdir()] == ["world.json"]


def test_the_single_stages_and_their_artifacts(project: Path, run: Run, up: dict[str, str]) -> None:
    run("prefect", "deployment", "run", "igsearch/prepare", "--watch", **up)
    assert (project / "artifacts/cards/prepare.json").is_file()
    assert not (project / "artifacts/cards/warm_start.json").exists()
    told = run("prefect", "artifact", "ls", **up, COLUMNS="200").stdout
    assert {"em-table", "main-table", "mlflow"} <= set(told.replace("│", " ").split())


def test_down_ends_all_three(project: Path, run: Run, ports: dict[str, str], up: dict[str, str]) -> None:
    family = [each for top in services(project).values() for each in (top, *top.children(recursive=True))]
    make(run, "down", **ports)
    assert not [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    assert not (project / ".run/services.json").exists()
    for port in ports.values():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", int(port)))
