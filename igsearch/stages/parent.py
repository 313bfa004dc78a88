"""The tie between a job's process and the one that started it. Imports nothing, as every command goes through it."""

import ctypes
import os
import signal
import sys

DIES_WITH = "IGSEARCH_DIES_WITH"
"""Names the process (by id) that started this one and without which it should not go on."""

TRY_AGAIN = 75
"""Exit code (EX_TEMPFAIL) of a command that input or output failed: the one failure that may be gone the next time."""

_PR_SET_PDEATHSIG = 1


def die_with_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """Have Linux signal this process when the one that started it dies, however that happens."""
    parent = os.environ.pop(DIES_WITH, None)
    if parent is None or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != int(parent):  # it died before we asked
        sys.exit(f"the process {parent} that started this one is gone")
