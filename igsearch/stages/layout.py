"""Where a configuration's data and results lie.

The configuration of params.yaml owns artifacts/ and results/; any other one gets a folder of its own below
artifacts/runs/, so that nothing overwrites what dvc.lock describes.
"""

from dataclasses import dataclass
from pathlib import Path

from igsearch.config import Config, load
from igsearch.errors import UserError
from igsearch.policy.load import directory_of

WORK = Path("artifacts/.work")
"""Checkpoints and partial records, in a folder per input digest. They outlive a crash; DVC ignores them."""


@dataclass(frozen=True)
class Layout:
    """The configuration and its folders. `run` names an overridden run, None is the project's own."""

    config: Config
    run: str | None = None

    @property
    def base(self) -> Path:
        """What takes the place of the project folder."""
        return Path("artifacts/runs") / self.run if self.run else Path()

    def at(self, name: str) -> Path:
        """The path of an input or output that the table calls `name`: `corpus`, `questions`, `policy` or a path.

        UserError for the questions of a configuration that takes them from the hub.
        """
        if name == "policy":
            return directory_of(self.config.policy.name)
        if name in ("corpus", "questions"):
            return self._data(self.config.data.corpus if name == "corpus" else self.config.data.questions)
        if self.run and name.startswith("artifacts/"):
            return self.base / name.removeprefix("artifacts/")
        return self.base / name

    def _data(self, path: Path | None) -> Path:
        """A synthetic world belongs to its configuration; real data lie where the configuration says."""
        if path is None:
            raise UserError("this configuration takes its questions from the hub; name a folder in data.questions")
        return self.base / path if self.config.data.synthetic else path

    def card(self, job: str) -> Path:
        """The card of a job."""
        return self.at(f"artifacts/cards/{job}.json")


def home(config: Config) -> Layout:
    """The layout of the project's own configuration."""
    return Layout(config)


def of(config: Config) -> Layout:
    """Where `config` belongs: to the project if it is what params.yaml says, else to a run of its own."""
    return Layout(config, None if config == load() else config.digest[:12])
