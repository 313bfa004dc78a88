"""Ask a trained policy, or the start policy, all questions."""

from igsearch.evaluation import store
from igsearch.evaluation.evaluate import evaluate
from igsearch.provenance import digest_tree
from igsearch.stages import inputs, tracked
from igsearch.stages.rule import Context


def run(context: Context) -> str:
    """Write records, trajectories, summary and contract; returns the id of the MLflow run.

    A trained policy answers in the way and with the attempts of its method, the start policy as an agent.
    """
    job, config, answering = context.job, context.config, "agent"
    if job.seed is not None:
        config, answering = config.for_method(job.method), config.method(job.method).inference
    source = job.fill(job.stage.inputs)[-1]
    evaluate(
        inputs.policy(context, source),
        inputs.retriever(context),
        inputs.questions(context, "test", config.data.evaluate),
        config,
        store.Subject(job.method, answering, source, config.data.synthetic, job.seed),
        context.out,
        corpus_digest=inputs.index_card(context)["corpus"],
        policy_digest=digest_tree(context.input(source)),
        work=context.work / "chunks",
        progress=lambda done, total: context.progress(f"{job.run}, questions", done, total),
    )
    return tracked.track(job, context.layout, context.plan.inputs, context.out)
