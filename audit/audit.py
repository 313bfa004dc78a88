"""`make audit`: licences of the locked packages, and what is known against their versions.

Licences come from the metadata of what is installed, vulnerabilities from pip-audit, which asks PyPI and then OSV. It
prints "No known vulnerabilities found" also where it could look nothing up; here that is told apart. What may pass
stands in audit/allowed.yaml. Exit code 1 where something else was found.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from packaging.utils import canonicalize_name

from igsearch.doctor.software import LOCK, read_lock

ALLOWED = Path(__file__).with_name("allowed.yaml")
SERVICES = ("pypi", "osv")
_SECONDS = 300


@dataclass(frozen=True)
class Allowed:
    """The allow-list: licences, other names of them, what packages are let pass, vulnerabilities that are."""

    licences: frozenset[str]
    names: Mapping[str, str]
    packages: Mapping[str, Mapping[str, str]]
    vulnerabilities: Mapping[str, str]


def read_allowed(path: Path = ALLOWED) -> Allowed:
    """The allow-list of a file."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    licences = frozenset(name for kind in content["licences"].values() for name in kind)
    return Allowed(licences, content["names"], content["packages"], content["vulnerabilities"])


def stated(package: Any) -> str:
    """What a package's metadata say of its licence: the SPDX expression, else the classifiers (all of them, as nothing
    tells whether one may choose), else the first line of the old field."""
    if package.get("License-Expression"):
        return str(package["License-Expression"])
    classifiers = [each for each in package.get_all("Classifier") or [] if each.startswith("License ::")]
    named = [each.rpartition(" :: ")[2] for each in classifiers if not each.endswith("OSI Approved")]
    return " AND ".join(named) or str(package.get("License") or "").strip().split("\n")[0]


def holds(expression: str, allowed: frozenset[str]) -> bool:
    """Whether an SPDX expression can be met by allowed licences: one side of each OR, both of each AND."""
    text = re.sub(r"\s+WITH\s+", " WITH ", expression.strip())
    if text in allowed:
        return True
    for word, combine in (("OR", any), ("AND", all)):
        parts = _split(text, word)
        if len(parts) > 1:
            return combine(holds(part, allowed) for part in parts)
    return text.startswith("(") and text.endswith(")") and holds(text[1:-1], allowed)


def _split(text: str, word: str) -> list[str]:
    """`text` at each `word` outside of parentheses."""
    parts, depth = [""], 0
    for token in re.split(r"(\s+|[()])", text):
        depth += {"(": 1, ")": -1}.get(token, 0)
        if token == word and depth == 0:
            parts.append("")
        else:
            parts[-1] += token
    return [part.strip() for part in parts]


def complaint(name: str, says: str, allowed: Allowed) -> str | None:
    """What is wrong with a package's licence; None where it may be used."""
    if name in allowed.packages:
        known = allowed.packages[name]["says"]
        return None if says == known else f"{name} now says {says!r}, not {known!r}: read its licence again"
    spelt = says
    for other, spdx in sorted(allowed.names.items(), key=lambda pair: -len(pair[0])):
        spelt = re.sub(rf"(?<![\w-]){re.escape(other)}(?![\w-])", spdx, spelt)
    return None if holds(spelt, allowed.licences) else f"{name}: {says or 'no licence stated'}"


def licences(names: Iterable[str], allowed: Allowed) -> list[str]:
    """The complaints about installed packages; what is not installed is one, too."""
    installed = {canonicalize_name(each.name): each.metadata for each in metadata.distributions() if each.name}
    missing = [f"{name} is not installed: make setup" for name in names if name not in installed]
    found = (complaint(name, stated(installed[name]), allowed) for name in names if name in installed)
    return [*missing, *filter(None, found)]


def known(report: Mapping[str, Any], allowed: Allowed) -> tuple[int, list[str]]:
    """How many packages were looked up, and what is known against them and not allowed, of a report of pip-audit."""
    looked_up = [each for each in report["dependencies"] if "skip_reason" not in each]
    found = [
        f"{each['name']} {each['version']}: {bad['id']}, mended in {', '.join(bad['fix_versions']) or 'no version yet'}"
        for each in looked_up
        for bad in each["vulns"]
        if not {bad["id"], *bad.get("aliases", [])} & allowed.vulnerabilities.keys()
    ]
    return len(looked_up), found


def ask(pip_audit: Path, service: str) -> dict[str, Any] | None:
    """pip-audit's report; None where it did not come to one."""
    options = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json", "--vulnerability-service"]
    try:
        done = subprocess.run(
            [pip_audit, "--requirement", LOCK, *options, service], capture_output=True, text=True, timeout=_SECONDS
        )
        report: dict[str, Any] = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, json.JSONDecodeError):
        return None
    return report


def vulnerabilities(pip_audit: Path, allowed: Allowed) -> list[str]:
    """What is known against the locked versions; prints how many were looked up where."""
    for service in SERVICES:
        report = ask(pip_audit, service)
        count, found = known(report, allowed) if report else (0, [])
        if report and count:
            print(f"vulnerabilities: {count} of {len(report['dependencies'])} packages looked up at {service}")
            return found
    print("vulnerabilities: none was looked for, as no database of them could be reached")
    return []


def main() -> int:
    """Print what was looked at and found; 1 where something is not allowed."""
    parser = argparse.ArgumentParser(description="Licences and known vulnerabilities of the locked packages.")
    parser.add_argument("--pip-audit", type=Path, required=True, help="its command, in an environment of its own")
    allowed, names = read_allowed(), read_lock(LOCK.read_text(encoding="utf-8"))
    found = licences(names, allowed)
    print(
        f"licences: {len(names)} packages, {len(allowed.packages)} of them let pass by name, {len(found)} not allowed"
    )
    found += vulnerabilities(parser.parse_args().pip_audit, allowed)
    print("\n".join(found), end="\n" if found else "")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
