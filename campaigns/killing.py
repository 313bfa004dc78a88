"""Start a command, end it at a moment, see that nothing of it lives on, and run it again."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from project import Place

LONGEST = 900.0
_SECONDS_TO_VANISH = 30.0
_SECONDS_TO_STOP = 60.0

STOPS = {"int": signal.SIGINT, "term": signal.SIGTERM}
"""Kinds that ask a command to stop, by name; the others kill it."""


@dataclass(frozen=True)
class Moment:
    """When and how. kind: `change` (`signal` at the change of a file with number `at`; SIGKILL goes to the group,
    others to the process), `time` (SIGKILL to the group and all it started `at` seconds after the first change),
    `parent` (the same to the first process alone), `int` or `term` (that signal to the first process)."""

    kind: str
    at: float
    signal: int = signal.SIGKILL


@dataclass(frozen=True)
class Ended:
    """How a command ended. `killed`: by us, and not before on its own. code: its exit code. where: its last change of a
    file. told: the last line it printed. outlived: what it had started and what was still alive half a minute later."""

    killed: bool
    code: int
    seconds: float
    where: str
    told: str
    outlived: tuple[str, ...] = ()


def _start(place: Place, command: Sequence[str], moment: Moment | None = None) -> "subprocess.Popen[bytes]":
    """Start it with its output in a file; it kills itself where the moment is the change of a file."""
    at = int(moment.at) if moment and moment.kind == "change" else 0
    place.log.unlink(missing_ok=True)
    with (place.folder / "output.txt").open("wb") as output:
        return subprocess.Popen(
            ["nice", "-n", "10", *command],
            cwd=place.live,
            env=place.environment(at, moment.signal if moment else signal.SIGKILL),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # ignored in the background
        )


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().split("\n")
    return lines[-1].strip()


def _ended(place: Place, process: "subprocess.Popen[bytes]", began: float, killed: bool) -> Ended:
    changes = place.changes()
    where = " ".join(changes[-1][2:]) if changes else "nothing"
    seconds = time.monotonic() - began
    return Ended(killed, process.returncode, seconds, where, _last_line(place.folder / "output.txt"))


def _tree(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        top = psutil.Process(process.pid)
        return [top, *top.children(recursive=True)]
    return []


def run(place: Place, command: Sequence[str]) -> Ended:
    """Run a command to its end."""
    began = time.monotonic()
    process = _start(place, command)
    process.wait(LONGEST)
    return _ended(place, process, began, killed=False)


def strike(place: Place, command: Sequence[str], moment: Moment) -> Ended:
    """Run a command and end it at a moment, unless it ends before."""
    began = time.monotonic()
    process = _start(place, command, moment)
    if moment.kind == "change":
        process.wait(LONGEST)
        return _ended(place, process, began, process.returncode != 0)
    if not _reached(place, process, moment.at):
        return _ended(place, process, began, killed=False)
    family = _tree(process)
    _send(process, moment.kind, family)
    process.wait(_SECONDS_TO_STOP)
    ended = _ended(place, process, began, killed=True)
    if moment.kind == "parent":
        return ended
    _, alive = psutil.wait_procs(family, timeout=_SECONDS_TO_VANISH)
    return replace(ended, outlived=tuple(map(_named, alive)))


def _named(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline()[-4:])
    return str(process.pid)


def _reached(place: Place, process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """Wait until so many seconds after the first change of a file. False where the command ends before."""
    while not (place.log.exists() and place.log.stat().st_size):
        if process.poll() is not None:
            return False
        time.sleep(0.005)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def _send(process: "subprocess.Popen[bytes]", kind: str, family: Sequence[psutil.Process]) -> None:
    if kind in STOPS:
        process.send_signal(STOPS[kind])
    elif kind == "parent":
        process.kill()
    else:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.kill()
