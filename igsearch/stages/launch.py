"""Jobs as processes of their own: every door runs the same command, `python -m igsearch …`.

A child dies with the process that started it, however that ends. Ctrl-C reaches it as SIGINT, so that it can say what
it kept.
"""

import os
import signal
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from igsearch.errors import Interrupted, UserError
from igsearch.stages import table
from igsearch.stages.layout import Layout
from igsearch.stages.parent import DIES_WITH, TRY_AGAIN
from igsearch.stages.rule import Plan, Say
from igsearch.stages.table import Job

_INTERRUPTED, _USER_ERROR = 130, 2
_SECONDS_TO_END = 20


class StageFailed(RuntimeError):
    """A stage's process ended in a way that is not the user's mistake; its output is in the log."""


@dataclass(frozen=True)
class Overrides:
    """How the configuration differs from params.yaml, as the options of a command."""

    profile: str | None = None
    sets: tuple[str, ...] = ()

    @property
    def arguments(self) -> list[str]:
        """`--profile NAME --set KEY=VALUE …`"""
        profile = ["--profile", self.profile] if self.profile else []
        return [*profile, *(part for item in self.sets for part in ("--set", item))]


def command(job: Job, overrides: Overrides) -> list[str]:
    """The arguments after `igsearch` that do a job."""
    return [*job.fill(job.stage.command.split()), *overrides.arguments]


class Children:
    """The processes that are running, so that an interrupted parent can end them."""

    def __init__(self) -> None:
        self._lock, self._running, self._ended = threading.Lock(), set[subprocess.Popen[str]](), False
        _families.add(self)

    def _start(self, arguments: Sequence[str]) -> "subprocess.Popen[str]":
        environment = {**os.environ, DIES_WITH: str(os.getpid())}
        environment.setdefault("OMP_NUM_THREADS", "1")  # several jobs share the cores
        with self._lock:
            if self._ended:
                raise Interrupted("interrupted before the next stage began")
            child = subprocess.Popen(
                [sys.executable, "-m", "igsearch", *arguments],
                env=environment,
                stdout=subprocess.DEVNULL,  # tables, which nobody asked a job for
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C in a terminal reaches it through end(), once
            )
            self._running.add(child)
        return child

    def run(self, arguments: Sequence[str], say: Say) -> None:
        """Run `python -m igsearch` and say what it says on stderr. As it ended, raises UserError, Interrupted, OSError
        where trying again may help, or StageFailed."""
        child = self._start(arguments)
        last = deque[str](maxlen=1)
        try:
            assert child.stderr is not None
            for line in child.stderr:
                last.append(line.rstrip("\n"))
                say(last[0])
            code = child.wait()
        finally:
            with self._lock:
                self._running.discard(child)
        if code == _USER_ERROR:
            raise UserError(last[0].removeprefix("error: ") if last else f"`igsearch {arguments[0]}` failed")
        if code == _INTERRUPTED:
            raise Interrupted(last[0] if last else "interrupted")
        if code == TRY_AGAIN:
            raise OSError(f"input or output failed in `igsearch {' '.join(arguments)}`; see its output above")
        if code:
            raise StageFailed(f"`igsearch {' '.join(arguments)}` ended with exit code {code}; see its output above")

    def interrupt(self) -> list["subprocess.Popen[str]"]:
        """Send SIGINT to all and return them. Nothing starts afterwards."""
        with self._lock:
            self._ended, running = True, list(self._running)
        for child in running:
            child.send_signal(signal.SIGINT)
        return running

    def end(self) -> None:
        """Interrupt all, wait, then kill. Nothing starts afterwards."""
        for child in self.interrupt():
            try:
                child.wait(_SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                child.kill()


_families: "weakref.WeakSet[Children]" = weakref.WeakSet()


def interrupt_all() -> None:
    """Interrupt every job of this process, whichever thread waits for it: for a handler of SIGINT."""
    for family in list(_families):
        family.interrupt()


@contextmanager
def children() -> Iterator[Children]:
    """Children that do not outlive the block when it is left by an exception."""
    family = Children()
    try:
        yield family
    except BaseException:
        family.end()
        raise


def bring(job: Job, layout: Layout, overrides: Overrides, family: Children, say: Say) -> bool:
    """Bring a job up to date in a process of its own. True where it was so already and nothing was started."""
    if Plan(job, layout).stale() is None:
        say(f"{job.name}: up to date, reused")
        return True
    family.run(command(job, overrides), lambda line: say(f"{job.name} | {line}"))
    return False


def benchmark(layout: Layout, overrides: Overrides, say: Say) -> dict[Job, bool]:
    """Bring the whole benchmark up to date, `benchmark.workers` jobs at a time. By job, whether it was reused."""
    jobs, config = table.benchmark(layout.config), layout.config
    futures: dict[Job, Future[bool]] = {}
    with children() as family, ThreadPoolExecutor(config.benchmark.workers) as pool:

        def one(job: Job) -> bool:
            for needed in table.needs(job, jobs, config):
                futures[needed].result()
            return bring(job, layout, overrides, family, say)

        try:
            for job in jobs:  # in the order of their needs, so that no worker waits for what has not begun
                futures[job] = pool.submit(one, job)
            return {job: future.result() for job, future in futures.items()}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            family.end()  # before the pool waits for its threads
            raise
