"""Serve the deployments: `igsearch/full-benchmark`, and one for each stage."""

from typing import cast

from prefect import serve
from prefect.deployments.runner import RunnerDeployment

from flows.benchmark import igsearch
from igsearch.stages.table import STAGES


def deployments() -> dict[str, list[str] | None]:
    """By name of the deployment, the stages that it runs; None for all."""
    return {"full-benchmark": None, **{name.replace("_", "-"): [name] for name in STAGES}}


if __name__ == "__main__":
    made = [igsearch.to_deployment(name, parameters={"only": only}) for name, only in deployments().items()]
    serve(*cast("list[RunnerDeployment]", made))
