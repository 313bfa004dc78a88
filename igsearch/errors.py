"""The one exception for what a user can mend: a sentence that says what is wrong, where, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Bad input. The command line prints its message alone and exits with code 2."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with a sentence naming what was kept. The command line prints it and exits with code 130."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """A clause naming the closest choice, or all of them: `(did you mean 'hotpotqa'?)`."""
    known = sorted(choices)
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"(did you mean {close[0]!r}?)" if close else f"(known: {', '.join(known)})"
