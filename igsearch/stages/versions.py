"""DVC: enter what the stages have made into dvc.lock, once every card says that it is up to date.

`python -m igsearch.stages.versions` does so for the world of params.yaml, the raw data of the pipeline.
"""

import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import yaml

from igsearch.config import load
from igsearch.errors import UserError
from igsearch.stages.layout import Layout, home
from igsearch.stages.rule import Plan
from igsearch.stages.table import STAGES, Job, benchmark

DATA, PIPELINE, LOCK = Path("data.dvc"), Path("dvc.yaml"), Path("dvc.lock")


def tracked(base: Path = Path()) -> bool:
    """Whether this folder is a DVC project with our pipeline."""
    return (base / ".dvc").is_dir() and (base / PIPELINE).is_file()


def target(job: Job, base: Path = Path()) -> str:
    """What DVC calls a job: `index`, `train@grpo-0`. The project's world is data.dvc, that of an experiment a stage."""
    if job.stage.name == "world" and base == Path():
        return str(DATA)
    return f"{job.stage.name}@{job.run}" if job.stage.matrix else job.stage.name


def targets(jobs: Iterable[Job], layout: Layout) -> list[str]:
    """What DVC calls `jobs`, in as few names as they have: it writes the whole dvc.lock anew for each name."""
    named = [target(job, layout.base) for job in jobs]
    pipeline = {target(job, layout.base) for job in benchmark(layout.config)} - {str(DATA)}
    if not pipeline <= set(named):
        return named
    return [*(name for name in named if name not in pipeline), str(PIPELINE)]


def mend_lock(base: Path = Path()) -> bool:
    """Remove a dvc.lock that DVC cannot read, and say so: DVC writes it in place, and killed meanwhile leaves a part.

    Nothing is lost, as the cards know what is up to date: `dvc repro` enters it again.
    """
    lock = base / LOCK
    if not lock.exists() or _is_whole(lock):
        return False
    lock.unlink()
    print(f"{lock} was cut off when DVC was killed: removed; `dvc repro` writes it again", file=sys.stderr)
    return True


def _is_whole(lock: Path) -> bool:
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    safe = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # safe_load would take seconds for a long one
    try:
        COMPILED_LOCKFILE_SCHEMA(safe(lock.read_bytes()).get_single_data())
    except (yaml.YAMLError, Invalid):
        return False
    return True


def commit(jobs: Iterable[Job], layout: Layout) -> None:
    """`dvc commit` the outputs of jobs: its cache and dvc.lock then hold what lies there, and `dvc status` is clean.

    Raises UserError where a job is not up to date, or where DVC refuses.
    """
    listed = list(jobs)
    mend_lock(layout.base)
    for job in listed:
        why = Plan(job, layout).stale()
        if why:
            raise UserError(f"{job.name} was changed while the benchmark ran ({why}); run it again")
    call = [sys.executable, "-m", "dvc", "commit", "--quiet", "--force", *targets(listed, layout)]
    done = subprocess.run(call, cwd=layout.base, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        raise UserError(f"dvc commit failed: {' '.join((done.stderr or done.stdout).split())}")


def commit_world() -> None:
    """Enter the world into data.dvc and DVC's cache. Nothing to do where params.yaml asks for none."""
    config = load()
    if config.data.synthetic and tracked():
        commit([Job(STAGES["world"])], home(config))


def main() -> int:
    """`python -m igsearch.stages.versions`: its exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        commit_world()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command enters the world again", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
