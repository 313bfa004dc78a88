"""Options that several commands share, and the configuration that they make."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from igsearch.config import Config

Profile = Annotated[
    str | None,
    typer.Option(
        "--profile", help="A profile in place of params.yaml: embedded, micro, laptop, paper.", metavar="NAME"
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting over the profile, such as train.steps=20. Repeatable.", metavar="KEY=VALUE"),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the resolved configuration, its digest and what would run.")
]
Resume = Annotated[
    bool, typer.Option("--resume/--no-resume", help="Go on from what an interrupted run left, or start afresh.")
]
"""--resume is the default: a job only goes on from work that had exactly the same inputs."""


def configuration(profile: str | None, sets: Sequence[str] | None, *more: str) -> "Config":
    """The configuration of the options; `more` are settings that a command's own options stand for."""
    from igsearch.config import load

    return load(profile, [*(sets or ()), *more])


def with_method(profile: str | None, sets: Sequence[str] | None, name: str, *more: str) -> "tuple[Config, str]":
    """The configuration, and what the training method is called in it: a credit rule at `package.module:function`
    becomes a method of its own with grpo's settings, unless `sets` change them."""
    from igsearch.config import outside
    from igsearch.errors import UserError
    from igsearch.methods import METHODS

    if ":" not in name:
        config = configuration(profile, sets, *more)
        config.method(name)
        return config, name
    from igsearch.credit import resolve

    called = outside(name)
    if called in METHODS:
        raise UserError(f"the rule {name!r} would be called {called!r}, which is another method; rename the function")
    config = configuration(profile, [f"methods.{called}.rule={name}", *(sets or ())], *more)
    resolve(name)  # what is wrong with it is told before anything is made
    return config, called


def setting(key: str, value: str | Path) -> str:
    """`key=value` of a name or path, quoted: YAML would make a number, a comment or a mapping of some."""
    import json

    return f"{key}={json.dumps(str(value), ensure_ascii=False)}"


def existing(path: Path, what: str) -> Path:
    """`path` if it is a file or folder that can be read; UserError otherwise."""
    import os

    from igsearch.errors import UserError

    if not path.exists():
        raise UserError(f"{what} {path} does not exist; check the path")
    if not os.access(path, os.R_OK):
        raise UserError(f"{what} {path} cannot be read; check its permissions")
    return path


def positive(value: int, option: str) -> int:
    """`value` if it is at least 1; UserError otherwise."""
    from igsearch.errors import UserError

    if value < 1:
        raise UserError(f"{option} must be at least 1, not {value}")
    return value
