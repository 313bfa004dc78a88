"""dvc.yaml, made from the table of stages: `python -m igsearch.stages.dvc` writes it, and `igsearch config` for another
configuration, as DVC must not be told of questions or a policy that are no files of the project.

An experiment, a folder below experiments/, is a DVC project of its own within this one and shares its cache: the whole
pipeline, whose files lie in that folder and whose commands run in the project folder. What the project has made from
the same inputs is taken over (stages/rule.py).

Outputs persist: DVC leaves them in place when it runs a stage, and the rule of the cards decides whether there is
anything to do. So what another door has made is not made twice.
"""

from pathlib import Path
from typing import Any

import yaml

from igsearch.config import PARAMS, Config, load, profiles
from igsearch.credit import outside
from igsearch.provenance import write_text
from igsearch.stages.layout import EXPERIMENTS, experiments
from igsearch.stages.table import STAGES, Stage, examined_methods, of_every_run, reads

HEADER = "# Made by `python -m igsearch.stages.dvc` from igsearch/stages/table.py: change that, then run it again.\n"
FILE = Path("dvc.yaml")
PACKAGE = Path(__file__).resolve().parent.parent
PROJECT_FILES = {
    ".gitignore": "/config.local\n/tmp\n/cache\n",
    "config": (
        "[core]\n    analytics = false\n    autostage = false\n    check_update = false\n"
        "[cache]\n    dir = ../../../.dvc/cache\n"
    ),
}
"""What lies in the .dvc of an experiment."""
METRICS, PLOTS = ("results/metrics.json",), ("results/plots",)


def _fill(stage: Stage, names: tuple[str, ...]) -> list[str]:
    run = "${item.method}-${item.seed}" if stage.matrix else ""
    values = {"method": "${item.method}", "seed": "${item.seed}", "run": run}
    return [name.format(**values) for name in names]


def _up(folder: Path) -> str:
    """From `folder` to the project folder: nothing, or `../../`."""
    return "../" * len(folder.parts)


def _data(config: Config, folder: Path) -> dict[str, str]:
    """What stands for the names of the table that a configuration resolves. A synthetic world lies with its pipeline,
    what is the user's own is named from the project folder."""
    data = {"corpus": config.data.corpus, "questions": config.data.questions}
    own = {"policy": Path(config.policy.name), **({} if config.data.synthetic else data)}
    above = {name for name, path in own.items() if path and not path.is_absolute()}
    keys = {"corpus": "${data.corpus}", "questions": "${data.questions}", "policy": "${policy.name}"}
    return {name: f"{_up(folder)}{key}" if name in above else key for name, key in keys.items()}


def _outside_rules(stage: Stage, config: Config, folder: Path) -> list[str]:
    """The sources of credit rules from outside the tree, for the stage that trains by them."""
    trained = config.benchmark.methods if "methods.{method}" in stage.config else ()
    rules = filter(outside.is_outside, dict.fromkeys(config.method(name).rule for name in trained))
    paths, here = list(map(outside.source, rules)), Path.cwd()
    return [f"{_up(folder)}{each.relative_to(here)}" if each.is_relative_to(here) else str(each) for each in paths]


def _modules(stage: Stage, folder: Path) -> list[str]:
    """The modules of a stage. For an experiment they lie outside its DVC project, where .dvcignore has no say: folders
    are spelt out, lest what Python leaves in them counts."""
    if not folder.parts:
        return [f"igsearch/{name}" for name in stage.modules]
    paths = [PACKAGE / name for name in stage.modules]
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*.*")))]
    kept = [file.relative_to(PACKAGE) for file in files if file.is_file() and "__pycache__" not in file.parts]
    return [f"{_up(folder)}igsearch/{name.as_posix()}" for name in kept]


def _dependencies(stage: Stage, config: Config, folder: Path) -> list[str]:
    """Data and modules. Inputs of every run are those of the benchmark's runs one by one: in the folder above them lie
    runs that a user made beside the benchmark, too."""
    data, modules = _data(config, folder), _modules(stage, folder)
    single = [*_fill(stage, reads(stage, config)), *of_every_run(stage, config)]
    if config.policy.name == "smollm2" and "policy" in single:
        single.remove("policy")  # its weights belong to the environment
    rules = _outside_rules(stage, config, folder)
    return [*(data.get(name, name) for name in single), *modules, *rules]


def _outputs(stage: Stage, config: Config) -> dict[str, list[Any]]:
    """Results lie in git (`cache: false`), everything else in DVC's cache."""
    kinds: dict[str, list[Any]] = {}
    world = {"corpus": str(config.data.corpus), "questions": str(config.data.questions)}
    for name in (world.get(name, name) for name in _fill(stage, stage.outputs)):
        kind = "metrics" if name in METRICS else "plots" if name in PLOTS else "outs"
        kept = {"persist": True, **({"cache": False} if name.startswith("results/") else {})}
        kinds.setdefault(kind, []).append({name: kept})
    return kinds


def _matrix(stage: Stage, config: Config) -> dict[str, Any]:
    if stage.matrix == "runs":
        return {"method": "${benchmark.methods}", "seed": "${benchmark.seeds}"}
    examined = list(examined_methods(config))
    everyone = examined == list(config.benchmark.methods)
    return {"method": "${benchmark.methods}" if everyone else examined, "seed": ["${benchmark.seeds[0]}"]}


def _entry(stage: Stage, config: Config, folder: Path) -> dict[str, Any]:
    matrix = {"matrix": _matrix(stage, config)} if stage.matrix else {}
    params = {"params": _fill(stage, stage.config)} if stage.config else {}
    command = _fill(stage, (f"python -m igsearch {stage.command}",))[0]
    if folder.parts:
        command = f"cd {_up(folder).rstrip('/')} && {command} --profile {folder.as_posix()}"
    deps = _dependencies(stage, config, folder)
    return {**matrix, "cmd": command, "deps": deps, **params, **_outputs(stage, config)}


def text(config: Config, folder: Path = Path()) -> str:
    """The text of dvc.yaml in `folder`, for the configuration in the params.yaml beside it.

    The project's world is the raw data of data.dvc, an experiment's is its first stage.
    """
    has_world = bool(folder.parts) and config.data.synthetic
    stages = {s.name: _entry(s, config, folder) for s in STAGES.values() if s.name != "world" or has_world}
    return HEADER + yaml.safe_dump({"stages": stages}, sort_keys=False, width=120)


def experiment(name: str) -> Config:
    """The configuration of an experiment: the profile of its name, where there is one, else its params.yaml."""
    return load(name if name in profiles() else str(EXPERIMENTS / name))


def write_experiment(folder: Path, config: Config) -> None:
    """Write params.yaml and dvc.yaml of an experiment, and what makes its folder a DVC project."""
    write_text(folder / PARAMS, config.to_yaml())
    write_text(folder / FILE, text(config, folder))
    for name, content in PROJECT_FILES.items():
        write_text(folder / ".dvc" / name, content)


if __name__ == "__main__":
    write_text(FILE, text(load()))
    for each in experiments():
        write_experiment(EXPERIMENTS / each, experiment(each))
