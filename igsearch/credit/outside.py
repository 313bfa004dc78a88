"""Credit rules from outside the tree, at `package.module:function`: where they are found and what they consist of.

Modules are looked for as Python does, and in the working folder.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

from igsearch.errors import UserError


def is_outside(rule: str) -> bool:
    """Whether a rule is named by module and function."""
    return ":" in rule


def look_in_working_folder() -> None:
    """Let modules of the working folder be imported, after all others: a script's folder would not be it."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


def source(rule: str) -> Path:
    """What the rule's digest is taken of: the file of its module or, where that is part of a package, the folder of the
    outermost one. UserError where there is no such module."""
    look_in_working_folder()
    module = rule.partition(":")[0]
    try:
        found = find_spec(module.partition(".")[0]) if find_spec(module) else None
    except (ImportError, ValueError) as error:
        raise UserError(f"credit rule {rule!r}: cannot import module {module!r} ({error})") from error
    if found is None:
        raise UserError(
            f"credit rule {rule!r}: there is no module {module!r} in {Path.cwd()} or among the installed ones"
        )
    folders = list(found.submodule_search_locations or ())
    return Path(folders[0] if folders else str(found.origin))
