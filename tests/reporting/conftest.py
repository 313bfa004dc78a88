"""Made results of a warm start and three methods with three seeds each, whose figures are known."""

import pytest
from made_results import evaluation, training_run

from igsearch.evaluation.store import Evaluation
from igsearch.reporting.results import TrainingRun

SKILLS = {"grpo": 0.80, "ig_search": 0.78, "ig_search_shared": 0.86}


@pytest.fixture(scope="session")
def evaluations() -> list[Evaluation]:
    trained = [evaluation(method, seed, skill) for method, skill in SKILLS.items() for seed in (2, 0, 1)]
    return [*trained, evaluation("warm_start", None, 0.3)]


@pytest.fixture(scope="session")
def training() -> list[TrainingRun]:
    return [training_run(method, seed, skill) for method, skill in SKILLS.items() for seed in (0, 1, 2)]
