"""Let a trained policy make groups of rollouts on test questions, and keep what each token and each search earned."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

from igsearch.errors import UserError, nearest
from igsearch.methods import CreditConfig, InformationGainConfig
from igsearch.provenance import jsonl_writer, write_json
from igsearch.records import Question
from igsearch.stages import inputs
from igsearch.stages.rule import Context
from igsearch.training.replay import replay, rows
from igsearch.training.schedule import validation_questions

ROLLOUTS, ABOUT = "rollouts.jsonl", "about.json"
REFERENCE = "ig_search"
"""The method by whose settings the gain of every method's searches is measured."""


def key_of(seed: int) -> tuple[int | str, ...]:
    """Names the draws of an examination."""
    return (seed, "examine")


def reference_of(methods: Mapping[str, CreditConfig]) -> InformationGainConfig:
    """How the gain is measured for all methods alike."""
    settings = methods[REFERENCE].information_gain
    if settings is None:
        raise UserError(f"methods.{REFERENCE}.information_gain is null, by which every method is examined; set it")
    return settings


def chosen(context: Context) -> list[Question]:
    """The questions: of the test split, evenly over the benchmarks, the same for every run; then those asked for."""
    config, by_benchmark = context.config, inputs.questions(context, "test", context.config.data.evaluate)
    asked = {question.uid: question for question in chain.from_iterable(by_benchmark.values())}
    drawn = validation_questions(list(asked.values()), config.examine.questions)
    for uid in config.examine.more:
        if uid not in asked:
            raise UserError(f"unknown test question {uid!r} {nearest(uid, asked)}")
    uids = dict.fromkeys([*(question.uid for question in drawn), *config.examine.more])
    return [asked[uid] for uid in uids]


def run(context: Context) -> None:
    """Write rollouts.jsonl and about.json. UserError for a method that does not learn from rollouts of its own."""
    job, config = context.job, context.config
    method, seed = config.method(job.method), int(job.seed or 0)
    if method.fine_tune:
        raise UserError(f"{job.method} is trained on texts: its rollouts earn no credit that could be examined")
    questions = chosen(context)
    context.progress(f"{job.run}, rollouts", 0, len(questions))
    policy = inputs.policy(context, f"artifacts/train/{job.run}/policy")
    by_start = method.information_gain is not None and method.information_gain.scorer == "start"
    start = inputs.policy(context, "artifacts/warm_start") if by_start else None
    own = config.for_method(job.method)
    replayed = replay(
        policy, start, inputs.retriever(context), questions, own, method, reference_of(config.methods), key_of(seed)
    )  # fmt: skip
    context.out.mkdir(parents=True)
    with jsonl_writer(context.out / ROLLOUTS) as keep:
        for row in rows(policy, replayed):
            keep(row)
    write_json(context.out / ABOUT, _about(context, method, questions, own.train.group_size))
    context.progress(f"{job.run}, rollouts", len(questions), len(questions))


def _about(context: Context, method: CreditConfig, questions: list[Question], group: int) -> dict[str, Any]:
    job, config = context.job, context.config
    return {
        "run": job.run,
        "method": job.method,
        "seed": job.seed,
        "inference": method.inference,
        "synthetic": config.data.synthetic,
        "policy": f"artifacts/train/{job.run}/policy",
        "questions": len(questions),
        "rollouts_per_question": group,
        "credited": method.information_gain is not None,
        "gain_settings": job.method if method.information_gain else REFERENCE,
    }
