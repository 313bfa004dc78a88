"""`igsearch config …`: the configuration that every door uses."""

from typing import Annotated

import typer

from igsearch.cli import show
from igsearch.cli.options import Profile, Sets, configuration

config = typer.Typer(help="Show or write the configuration of this folder, params.yaml.", no_args_is_help=True)


@config.command("show")
def show_config(profile: Profile = None, sets: Sets = None) -> None:
    """Print the resolved configuration and its digest."""
    resolved = configuration(profile, sets)
    print(f"{resolved.to_yaml()}# digest {resolved.digest}")


@config.command("use")
def use(
    name: Annotated[str, typer.Argument(help="A profile: embedded, micro, laptop, paper.")],
    sets: Sets = None,
    experiment: Annotated[
        str | None, typer.Option(help="Write them into experiments/NAME, beside those of the project.", metavar="NAME")
    ] = None,
) -> None:
    """Write params.yaml and dvc.yaml for a profile, so that `dvc repro` and the flow make that profile's tables."""
    if experiment is None:
        _write(name, sets)
    else:
        _write_experiment(experiment, name, sets)


@config.command("set")
def set_value(items: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...")]) -> None:
    """Change settings in params.yaml."""
    _write(None, items)


def _write(profile: str | None, sets: list[str] | None) -> None:
    from igsearch.config import PARAMS
    from igsearch.provenance import write_text
    from igsearch.stages import dvc, versions

    resolved = configuration(profile, sets)
    write_text(PARAMS, resolved.to_yaml())
    if versions.tracked():
        write_text(dvc.FILE, dvc.text(resolved))
    show.say(f"{PARAMS}: profile {resolved.profile}, digest {resolved.digest}")


def _write_experiment(name: str, profile: str, sets: list[str] | None) -> None:
    from igsearch.config import profiles
    from igsearch.errors import UserError
    from igsearch.stages import dvc, layout

    if not name.isidentifier() or (name in profiles() and (name != profile or sets)):
        raise UserError(f"--experiment {name}: take letters, digits and underscores, and no other profile's name")
    folder = layout.EXPERIMENTS / name
    dvc.write_experiment(folder, configuration(profile, sets))
    show.say(f"{folder}: run it with `igsearch benchmark --profile {folder}` or `dvc --cd {folder} repro`")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(config, name="config", rich_help_panel="Settings")
