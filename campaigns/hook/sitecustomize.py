"""Notes each change of a file below a folder that a Python process is about to make, and can kill it there.

On PYTHONPATH, so that it is in every Python process of a campaign. KILL_LOG takes a line per change: process, seconds,
what, path. At the change with number KILL_AT, counted from 1 in each process, the process group is killed, or
the process gets the signal KILL_WITH.
"""

import os
import signal
import sys
import time
from typing import Any

_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def _path(event: str, given: tuple[Any, ...]) -> str | None:
    """What the event is about to change, absolute; None where it changes nothing."""
    named = given[0] if given else None
    if not isinstance(named, (str, bytes, os.PathLike)):
        return None
    if event == "open" and not (isinstance(given[2], int) and given[2] & _WRITING):
        return None
    return os.path.abspath(os.fsdecode(named))


def _end(number: int) -> None:
    if number == signal.SIGKILL:
        os.killpg(0, number)
    else:
        os.kill(os.getpid(), number)


def _install(folder: str, log: int, at: int) -> None:
    seen = 0

    def hook(event: str, given: tuple[Any, ...]) -> None:
        nonlocal seen
        if event != "open" and event not in _CHANGES:
            return
        path = _path(event, given)
        if path is None or not path.startswith(folder) or "__pycache__" in path:
            return
        seen += 1
        os.write(log, f"{os.getpid()} {time.time():.3f} {event} {path.removeprefix(folder)}\n".encode())
        if seen == at:
            _end(int(os.environ.get("KILL_WITH", signal.SIGKILL)))

    sys.addaudithook(hook)


if "KILL_LOG" in os.environ:
    _install(
        f"{os.environ['KILL_FOLDER']}/",
        os.open(os.environ["KILL_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        int(os.environ.get("KILL_AT", "0")),
    )
