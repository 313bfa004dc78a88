"""dvc.yaml, made from the table of stages: `python -m igsearch.stages.dvc` writes it, and `igsearch config` for another
configuration, as DVC must not be told of questions or a policy that are no files of the project.

Outputs persist: DVC leaves them in place when it runs a stage, and the rule of the cards decides whether there is
anything to do. So what another door has made is not made twice.
"""

from pathlib import Path
from typing import Any

import yaml

from igsearch.config import Config, load
from igsearch.provenance import write_text
from igsearch.stages.table import STAGES, Stage, reads

HEADER = "# Made by `python -m igsearch.stages.dvc` from igsearch/stages/table.py: change that, then run it again.\n"
FILE = Path("dvc.yaml")
METRICS, PLOTS = ("results/metrics.json",), ("results/plots",)
OURS = tuple(stage for stage in STAGES.values() if stage.name != "world")  # the world is the raw data of data.dvc


def _fill(stage: Stage, names: tuple[str, ...]) -> list[str]:
    run = "${item.method}-${item.seed}" if stage.matrix else ""
    values = {"method": "${item.method}", "seed": "${item.seed}", "run": run}
    return [name.format(**values) for name in names]


def _dependencies(stage: Stage, config: Config) -> list[str]:
    """Data and modules. Of inputs that exist once per run, the folder of all runs: DVC cannot list them one by one."""
    data = {"corpus": "${data.corpus}", "questions": "${data.questions}", "policy": "${policy.name}"}
    folders = [name.split("/{run}")[0] for name in stage.every_run]
    single = [name for name in _fill(stage, reads(stage, config)) if str(Path(name).parent) not in folders]
    if config.policy.name == "smollm2" and "policy" in single:
        single.remove("policy")  # its weights belong to the environment
    return [*(data.get(name, name) for name in single), *folders, *(f"igsearch/{name}" for name in stage.modules)]


def _outputs(stage: Stage) -> dict[str, list[Any]]:
    """Results lie in git (`cache: false`), everything else in DVC's cache."""
    kinds: dict[str, list[Any]] = {}
    for name in _fill(stage, stage.outputs):
        kind = "metrics" if name in METRICS else "plots" if name in PLOTS else "outs"
        kept = {"persist": True, **({"cache": False} if name.startswith("results/") else {})}
        kinds.setdefault(kind, []).append({name: kept})
    return kinds


def _entry(stage: Stage, config: Config) -> dict[str, Any]:
    matrix = {"matrix": {"method": "${benchmark.methods}", "seed": "${benchmark.seeds}"}} if stage.matrix else {}
    params = {"params": _fill(stage, stage.config)} if stage.config else {}
    command = _fill(stage, (f"python -m igsearch {stage.command}",))[0]
    return {**matrix, "cmd": command, "deps": _dependencies(stage, config), **params, **_outputs(stage)}


def text(config: Config) -> str:
    """The text of dvc.yaml for a configuration in params.yaml."""
    stages = {stage.name: _entry(stage, config) for stage in OURS}
    return HEADER + yaml.safe_dump({"stages": stages}, sort_keys=False, width=120)


if __name__ == "__main__":
    write_text(FILE, text(load()))
