"""Made evaluations and training runs, whose figures are known."""

from collections.abc import Sequence
from typing import Any

from igsearch.config import Config
from igsearch.evaluation.contract import Contract, make
from igsearch.evaluation.store import Evaluation, Subject
from igsearch.records import BENCHMARKS, EndReason, Question, QuestionRecord
from igsearch.reporting.results import TrainingRun
from igsearch.seeds import generator

PER_BENCHMARK = 40
HOPS = {"nq": (1,), "triviaqa": (1,), "popqa": (1,), "hotpotqa": (2,), "2wikimultihopqa": (2,), "musique": (2, 3, 4)}


def _questions() -> dict[str, list[Question]]:
    return {
        name: [
            Question(str(i), name, "q", ("a",), HOPS.get(name, (2,))[i % len(HOPS.get(name, (2,)))])
            for i in range(PER_BENCHMARK)
        ]
        for name in BENCHMARKS
    }


def contract() -> Contract:
    return make("c" * 64, _questions(), Config())


def evaluation(
    method: str, seed: int | None, skill: float, partial: Sequence[str] = (), **changes: object
) -> Evaluation:
    """Records in which a question of h hops is right with probability skill ** h."""
    terms = contract()
    records = []
    for question in (question for group in _questions().values() for question in group):
        hops = question.hops or 1
        right = float(generator(method, seed or 0, question.uid).random() < skill**hops)
        fields = {
            "prediction": "a" if right else "b",
            "em": right,
            "em_by_attempt": (right,),
            "f1": right,
            "cover_em": right,
            "searches": hops,
            "searches_without_new_passage": 0,
            "sampled_tokens": 10 * hops,
            "retrieval_hit": bool(right),
            "first_query_useful": skill > 0.5,
            "end": EndReason.ANSWERED,
            "contract": terms.digest,
            "policy": "p",
        }
        text = {"uid": question.uid, "benchmark": question.benchmark, "question": "q", "answers": ("a",), "hops": hops}
        records.append(QuestionRecord(**{**text, **fields, **changes}))  # type: ignore[arg-type]
    return Evaluation(Subject(method, "agent", "tiny", True, seed), terms, tuple(records), tuple(partial))


def training_run(method: str, seed: int, skill: float) -> TrainingRun:
    draw = generator("history", method, seed)
    rows = []
    for step in range(61):
        grown = skill * step / 60
        metrics = {"reward/uniform_groups": 0.8 - 0.6 * grown + 0.1 * float(draw.random()), "seconds/generation": 0.25}
        if step % 10 == 0:
            metrics["validation/em"] = grown + 0.05 * float(draw.random())
            metrics["validation/first_query_useful"] = 0.2 + 0.7 * grown
        rows.append((step, metrics))
    return TrainingRun(method, seed, tuple(rows))


def examined_row(
    uid: str, rollout: int, gains: Sequence[float | None], right: bool, bonus: float | None = None, outcome: float = 0.0
) -> dict[str, Any]:
    """What figures read of an examined rollout of two tokens: `bonus` on the first, `outcome` on both."""
    base = None if bonus is None else [outcome, outcome]
    return {
        "uid": uid,
        "rollout": rollout,
        "reward": float(right),
        "em": float(right),
        "advantage": [outcome + (bonus or 0.0), outcome],
        "outcome_advantage": base,
        "steps": [
            {
                "reference": None if gain is None else {"gain": gain},
                "without_refine": None if gain is None else {"gain": gain - 0.25},
                "answer_in": "documents" if gain is not None and gain > 1 else "refine" if right else None,
            }
            for gain in gains
        ],
    }


def examined_rows(bonus: float | None) -> list[dict[str, Any]]:
    """A group of mixed outcomes and one that failed."""
    mixed = [examined_row("nq/1", 0, [1.5, 0.5], True, bonus, 0.7), examined_row("nq/1", 1, [-0.5], False, bonus, -0.7)]
    return [*mixed, *(examined_row("nq/2", number, [0.1, None, -0.2, 0.3], False, bonus) for number in (0, 1))]
