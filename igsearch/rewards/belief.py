"""The belief in the gold answer as a rollout goes on: what IGPO rewards its turns with.

    b_t = (1/M) * sum_m log p(a_m | C_t, a_<m),     C_t = the rollout up to the end of the documents of turn t, scaffold

Source: IGPO (arXiv 2510.14967). b_0 is the belief before any turn, from the prompt alone. The policy that made the
rollouts scores, without gradient, the tokens of the gold answer and no others; the scaffold ends its reasoning and
opens the answer tag (`Style.forced_answer` of rollout/prompts.py).

Deviations: contexts are slices of the rollout's own ids, and the space before the answer is part of the answer; the
first gold alias is scored; equal rows are scored once; a turn that brought no documents is not measured. No context is
cut: one that lost the question would be compared with one that has it. Beyond `max_context` tokens, where that is set,
there is no belief, and so no turn reward for the rollout.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from igsearch.methods import IgpoConfig
from igsearch.policy.base import Policy
from igsearch.policy.scorer import Scorer
from igsearch.records import EndReason, Episode, SpanKind
from igsearch.rewards.likelihood import Ids, Likelihood


@dataclass(frozen=True, slots=True)
class Beliefs:
    """Mean log-probability of the gold answer (nats per token) before any turn and after each search, by its index.

    None where the context was too long to be scored, `too_long` times.
    """

    first: float | None = None
    after: tuple[float | None, ...] = ()
    too_long: int = 0


def _contexts(episode: Episode, scaffold: Ids) -> list[Ids]:
    """C_0, then C_t of each search step."""
    documents = [episode.span_at(SpanKind.DOCUMENTS, step) for step in range(len(episode.steps))]
    ends = [0, *(span.outer_end for span in documents if span)]
    return [(*episode.prompt_ids, *episode.response_ids[:end], *scaffold) for end in ends]


def beliefs(
    policy: Policy, episodes: Sequence[Episode], scaffold: str, config: IgpoConfig, scorer: Scorer | None = None
) -> list[Beliefs]:
    """The beliefs of each episode; none without a gold answer or where the retriever failed. `scaffold` is trusted.

    `scorer` is that of the run; None for one that lives as long as the call.
    """
    opening = tuple(policy.tokenizer.encode(scaffold, add_special_tokens=False, split_special_tokens=False))
    golds = [tuple(policy.encode(f" {each.question.answers[0]}")) if each.question.answers else () for each in episodes]
    contexts = [
        _contexts(each, opening) if gold and each.end is not EndReason.RETRIEVER_FAILED else []
        for each, gold in zip(episodes, golds, strict=True)
    ]
    most = config.max_context or max((len(context) for each in contexts for context in each), default=0)
    rows = [
        (context, gold) for each, gold in zip(contexts, golds, strict=True) for context in each if len(context) <= most
    ]
    scores = iter(Likelihood(policy, scorer or Scorer(config.pass_tokens, first_whole=False), None)(rows))
    measured = [[next(scores) if len(context) <= most else None for context in each] for each in contexts]
    return [Beliefs(each[0], tuple(each[1:]), each.count(None)) if each else Beliefs() for each in measured]


def diagnostics(measured: Sequence[Beliefs], config: IgpoConfig) -> Mapping[str, float]:
    """Figures of one batch for the log: the mean belief before any turn, and after the last search; where the length of
    contexts is limited, how many were too long."""
    known = [each for each in measured if each.first is not None]
    last = [belief for each in known for belief in each.after[-1:] if belief is not None]
    return {
        **({"belief/first": sum(each.first or 0.0 for each in known) / len(known)} if known else {}),
        **({"belief/last": sum(last) / len(last)} if last else {}),
        **({"belief/truncated": float(sum(each.too_long for each in measured))} if config.max_context else {}),
    }
