"""Run the full benchmark in this process, with a Prefect server for as long as it takes: `python -m flows.run`."""

import signal
import sys
from pathlib import Path
from types import FrameType

from flows.services import prefect_api
from igsearch.cli.show import em_table
from igsearch.config import load
from igsearch.errors import UserError
from igsearch.stages.launch import interrupt_all

EPILOGUE = """
Tables and figures   {results}
Records, models      {artifacts}
Curves and runs      make up, then the addresses it prints: MLflow on port 5000, Prefect on port 4200
"""


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Tasks run in threads, where no Ctrl-C arrives: their processes have to hear of it."""
    interrupt_all()
    signal.default_int_handler(number, frame)


def main() -> int:
    """Run it, print the main table and where everything lies."""
    signal.signal(signal.SIGINT, _interrupt)
    try:
        load()  # a mistake in params.yaml is told before anything starts
        with prefect_api():
            # Prefect reads its settings when it is imported
            from prefect.logging.handlers import APILogHandler

            from flows.benchmark import igsearch

            try:
                tables = Path(igsearch())
            finally:
                APILogHandler().flush()  # before the server goes
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what is done is kept, and the same command goes on from there", file=sys.stderr)
        return 130
    print(em_table(tables), end="")
    artifacts = tables.parent.parent / "artifacts" if tables.parent.name == "results" else tables.parent
    print(EPILOGUE.format(results=f"{tables}/ and {tables.parent / 'plots'}/", artifacts=f"{artifacts}/"), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
