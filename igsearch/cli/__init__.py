"""The command line: `igsearch COMMAND`. Nothing heavy is imported before a command needs it.

A user's mistake is one sentence on stderr and exit code 2; Ctrl-C is 130 and names what was kept; any other exception
is a bug and keeps its traceback.
"""

from igsearch.cli.entry import main

__all__ = ["main"]
