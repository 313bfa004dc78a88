"""A copy of the working tree in a folder of its own, and commands in it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def working_tree() -> list[str]:
    """The files that git tracks or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=PROJECT, check=True, capture_output=True, text=True
    )
    return [name for name in listed.stdout.split("\n") if name and (PROJECT / name).is_file()]


def copy_to(folder: Path) -> None:
    """The working tree as a git repository with one commit."""
    for name in working_tree():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / name, folder / name)
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    for arguments in (("init", "-q"), ("add", "-A"), (*identity, "commit", "-qm", "copy")):
        subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


def environment(folder: Path) -> dict[str, str]:
    """The virtual environment as if activated, and the copy's code in place of the installed one."""
    dropped = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "PATH": path, "PYTHONPATH": str(folder)}


def caller(folder: Path) -> Run:
    """`run("dvc", "repro")` in the folder; a failure shows what was printed."""

    def run(*command: str, code: int = 0, **more: str) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            command, cwd=folder, env={**environment(folder), **more}, capture_output=True, text=True, timeout=500
        )
        assert done.returncode == code, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done

    return run


def make(run: Run, *targets: str, **more: str) -> "subprocess.CompletedProcess[str]":
    """`make` with this virtual environment in place of .venv, which needs no set-up."""
    return run("make", "-o", "setup", f"VENV={sys.prefix}", *targets, **more)
