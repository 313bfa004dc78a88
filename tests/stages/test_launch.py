"""Jobs as processes: what becomes of the ways they end."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from igsearch.errors import Interrupted, UserError
from igsearch.stages import launch
from igsearch.stages.launch import Children, Overrides, StageFailed, command
from igsearch.stages.table import STAGES, Job

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    return tmp_path


@pytest.fixture
def stage_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in for the interpreter: whatever is asked of it, it runs the script that the test writes."""
    script = tmp_path / "stage"
    script.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    return script


def test_a_job_is_the_command_with_the_overrides() -> None:
    overrides = Overrides("micro", ("train.steps=3", "retrieval.k=2"))
    job = Job(STAGES["train"], "ig_search", 1)
    expected = "train --method ig_search --seed 1 --profile micro --set train.steps=3 --set retrieval.k=2"
    assert command(job, overrides) == expected.split()


def test_what_a_job_says_is_passed_on_and_its_tables_are_not() -> None:
    said: list[str] = []
    Children().run(["config", "use", "micro"], said.append)
    assert [line.split(",")[0] for line in said] == ["params.yaml: profile micro"]
    said.clear()
    Children().run(["config", "show"], said.append)
    assert said == []


def test_a_users_mistake_keeps_its_sentence() -> None:
    with pytest.raises(UserError, match=r"^unknown profile 'micor' \(did you mean 'micro'\?\)$"):
        Children().run(["config", "use", "micor"], lambda _: None)


@pytest.mark.parametrize(
    ("code", "error", "sentence"),
    [
        (75, OSError, "input or output failed in `igsearch train`"),
        (1, StageFailed, "`igsearch train` ended with exit code 1"),
        (130, Interrupted, "kept in work"),
        (2, UserError, "^kept in work$"),
    ],
)
def test_each_exit_code_has_its_exception(
    code: int, error: type[BaseException], sentence: str, stage_that: Path
) -> None:
    stage_that.write_text(f"#!/bin/sh\necho 'error: kept in work' >&2\nexit {code}\n", encoding="utf-8")
    with pytest.raises(error, match=sentence):
        Children().run(["train"], lambda _: None)


@pytest.mark.parametrize("everywhere", [False, True])
def test_an_interrupted_parent_interrupts_its_jobs_and_starts_no_more(
    everywhere: bool, stage_that: Path, here: Path
) -> None:
    stage_that.write_text(
        "#!/bin/sh\ntrap 'exit 130' INT\ntouch began; sleep 60 2>/dev/null &\nwait\n", encoding="utf-8"
    )
    family, ended = Children(), list[BaseException]()
    thread = threading.Thread(target=_run, args=(family, ended))
    thread.start()
    while not (here / "began").exists():
        time.sleep(0.05)
    (launch.interrupt_all if everywhere else family.end)()
    thread.join(timeout=20)
    assert [type(error) for error in ended] == [Interrupted]
    with pytest.raises(Interrupted, match="before the next stage began"):
        family.run(["train"], lambda _: None)


def _run(family: Children, ended: list[BaseException]) -> None:
    try:
        family.run(["train"], lambda _: None)
    except BaseException as error:  # noqa: BLE001  (it is what the test looks at)
        ended.append(error)


def test_a_job_dies_with_the_process_that_started_it(here: Path) -> None:
    code = (
        "from igsearch.stages.launch import Children; "
        "Children().run(['warm-start', '--profile', 'micro', '--set', 'warm_start.steps=100000'], print)"
    )
    parent = subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    parent.stdout.readline()  # it works
    (child,) = psutil.Process(parent.pid).children()
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert psutil.wait_procs([child], timeout=20)[1] == []
