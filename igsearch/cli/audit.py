"""`igsearch audit-scorer module:function`: does a reward function pay for what a retrieved page says?"""

from typing import TYPE_CHECKING, Annotated

import typer

from igsearch.cli import show

if TYPE_CHECKING:
    from collections.abc import Callable

    from igsearch.evaluation.audit import Family

PANEL = "Looking closer"


def audit_scorer(
    function: Annotated[
        str, typer.Argument(help="The reward function, such as my_package.rewards:score.", metavar="MODULE:FUNCTION")
    ],
    tag: Annotated[
        str, typer.Option(help="The tag around what is retrieved: documents or information.")
    ] = "information",
    policy: Annotated[
        str, typer.Option(help="Whose special tokens and cut tags are tried: smollm2 or a directory.")
    ] = "smollm2",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, the sum last.")] = False,
) -> None:
    """Attack a reward function with hostile passages and count how many raise its reward.

    It is called as function(response, answers), or by the names solution_str and ground_truth as verl and Search-R1 do.
    The policy's own words are the same with and without the attack, and never right. Exit code 1 where any succeeds.
    """
    from igsearch.errors import UserError
    from igsearch.evaluation.attacks import attacks
    from igsearch.evaluation.audit import GOLD, audit, scorer_of

    if tag not in ("documents", "information"):
        raise UserError(f"--tag {tag}: retrieved text stands in documents or in information")
    score = scorer_of(_function(function))
    pieces, special = _tokenizer(policy)
    found = audit(score, attacks(GOLD, special, pieces), tag)
    _print(function, found, as_json)
    if any(family.successes for family in found):
        raise typer.Exit(1)


def _function(name: str) -> "Callable[..., object]":
    from importlib import import_module

    from igsearch.credit.outside import look_in_working_folder
    from igsearch.errors import UserError

    module, separator, attribute = name.partition(":")
    if not separator or not attribute:
        raise UserError(f"{name!r} names no function; write it as package.module:function")
    look_in_working_folder()
    try:
        found = getattr(import_module(module), attribute)
    except ImportError as error:
        raise UserError(
            f"cannot import {module!r} ({error}); run in the folder where it lies, or install it"
        ) from error
    except AttributeError as error:
        raise UserError(f"{module} has no {attribute!r}; check the name") from error
    if not callable(found):
        raise UserError(f"{name} is not a function")
    return found  # type: ignore[no-any-return]


def _tokenizer(name: str) -> "tuple[Callable[[str], list[str]], list[str]]":
    """How a policy's tokenizer cuts text, and its special and added tokens."""
    from igsearch.config import PolicyConfig
    from igsearch.policy.load import load_policy

    policy = load_policy(PolicyConfig(name=name))
    tokenizer = policy.tokenizer
    special = [*tokenizer.all_special_tokens, *map(str, tokenizer.added_tokens_decoder.values())]
    return lambda text: [policy.pieces.text([i]) for i in policy.encode(text)], list(dict.fromkeys(special))


def _print(function: str, found: "list[Family]", as_json: bool) -> None:
    tried, won = sum(each.transcripts for each in found), sum(each.successes for each in found)
    if as_json:
        from dataclasses import asdict

        for each in found:
            show.print_json(asdict(each))
        show.print_json({"function": function, "transcripts": tried, "successes": won, "rate": won / tried})
        return
    from rich.console import Console

    from igsearch.reporting.table import Table

    rows = [(each.name, str(each.transcripts), str(each.successes), _rate(each)) for each in found]
    rows.append(("all", str(tried), str(won), f"{won / tried:.1%}"))
    console = Console()
    columns = ("family of attacks", "transcripts", "paid more", "success")
    console.print(Table(f"Attacks on {function}", columns, tuple(rows)).rich(), "")
    for each in found:
        if each.example is not None:
            console.print(f"{each.name}: {each.example[:200]!r}", markup=False, highlight=False)
    console.print(
        "The policy wrote the same with and without the attack, and nothing of it was right: whatever pays more pays "
        "for what the retrieved page says.",
        markup=False,
    )


def _rate(family: "Family") -> str:
    return f"{family.successes / family.transcripts:.1%}"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=PANEL)(audit_scorer)
