"""dvc.lock against the working tree: what is published was made by the code that stands here."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]


def _md5(path: Path) -> str:
    """As DVC takes it: of a file's bytes; of a folder, of the listed names and digests of its files."""
    if path.is_file():
        return hashlib.md5(path.read_bytes()).hexdigest()
    files = [each for each in path.rglob("*") if each.is_file() and "__pycache__" not in each.parts]
    names = sorted(each.relative_to(path).as_posix() for each in files)
    listed = json.dumps([{"md5": _md5(path / name), "relpath": name} for name in names])
    return f"{hashlib.md5(listed.encode()).hexdigest()}.dir"


def _modules(entry: Mapping[str, Any]) -> dict[str, str]:
    """The modules that a stage of dvc.yaml, or of dvc.lock with its digests, depends on."""
    listed = entry.get("deps", ())
    pairs = [(each["path"], each["md5"]) if isinstance(each, Mapping) else (each, "") for each in listed]
    return {name[name.index("igsearch/") :]: digest for name, digest in pairs if "igsearch/" in name}


def _stages(path: Path) -> dict[str, Any]:
    stages: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)["stages"]
    return stages


@pytest.mark.parametrize("lock", [PROJECT / "dvc.lock", *sorted(PROJECT.glob("experiments/*/dvc.lock"))], ids=str)
def test_the_published_results_were_made_by_the_modules_that_stand_here(lock: Path) -> None:
    declared = _stages(lock.with_suffix(".yaml"))
    changed = set()
    for name, entry in _stages(lock).items():
        modules = _modules(entry)
        assert set(modules) == set(_modules(declared[name.split("@")[0]])), f"{lock}: {name} is not that of dvc.yaml"
        changed |= {each for each, digest in modules.items() if _md5(PROJECT / each) != digest}
    assert not changed, f"{lock} is of other versions of {sorted(changed)}: run the benchmark again"
