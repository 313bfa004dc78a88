"""Run the full benchmark in this process, with a Prefect server for as long as it takes: `python -m flows.run`.

`python -m flows.run PROFILE …` runs that of each profile, one after the other.
"""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from flows.services import prefect_api
from igsearch.cli.show import read_tables
from igsearch.config import load
from igsearch.errors import UserError
from igsearch.stages import table
from igsearch.stages.launch import interrupt_all
from igsearch.stages.rule import check_settings

EPILOGUE = """
Tables and figures   {results}
Records, models      {artifacts}
Curves and runs      make up, then the addresses it prints: MLflow on port 5000, Prefect on port 4200
"""


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Tasks run in threads, where no Ctrl-C arrives: their processes have to hear of it."""
    interrupt_all()
    signal.default_int_handler(number, frame)


def run(profiles: Sequence[str | None]) -> list[Path]:
    """The benchmark of each profile (None: params.yaml); returns the folders of the tables."""
    for profile in profiles:
        config = load(profile)  # a mistake in the settings is told before anything starts
        check_settings(table.benchmark(config), config)
    with prefect_api():
        # Prefect reads its settings when it is imported
        from prefect.logging.handlers import APILogHandler

        from flows.benchmark import igsearch

        try:
            return [Path(igsearch(profile=profile)) for profile in profiles]
        finally:
            APILogHandler().flush()  # before the server goes


def tell(tables: Path) -> None:
    """Print the tables and where everything lies."""
    print(read_tables(tables), end="")
    artifacts = tables.parent.parent / "artifacts" if tables.parent.name == "results" else tables.parent
    print(EPILOGUE.format(results=f"{tables}/ and {tables.parent / 'plots'}/", artifacts=f"{artifacts}/"), end="")


def main() -> int:
    """Run it, print the tables and where everything lies."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        made = run(sys.argv[1:] or [None])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what is done is kept, and the same command goes on from there", file=sys.stderr)
        return 130
    for tables in made:
        tell(tables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
