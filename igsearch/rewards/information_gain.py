"""The information gain of a search: how much its documents raise the log-probability of the gold answer.

    IG_t = s(C_real(t)) - (1/N) * sum_j s(C_rand(t, j)),    s(C) = sum_m w_m * log p(a_m | C, a_<m) / sum_m w_m

Source: IG-Search (arXiv 2604.15148) and the authors' released scorer. C_real(t) is everything up to the first search,
then query, documents and refine of the steps up to t; thoughts after the first search are left out. C_rand(t, j) is the
same with documents and refine of step t replaced, together, by those of another rollout's step. The policy that made
the rollouts scores, without gradient; the first `head_tokens` tokens of the answer weigh `head_weight`, the others 1.
As the authors say themselves, this is a log-likelihood ratio, not Shannon's information gain.

Deviations: contexts are slices of the rollout's own ids and the space before the answer is part of the answer
(`contexts="text"`, `answer_space="authors"` give the released form); pairs come from other questions; every draw is
seeded by what it is drawn for, from a sorted pool; what contexts share is read once (policy/shared.py).

Variants, by setting. `counterfactual`: `empty` drops documents and refine of step t and puts nothing in their place,
`none` subtracts nothing. `pool_scope`: `other_pair` takes any other pair of the batch, as the released code does;
`sibling` takes those of the group's other rollouts, equal ones too, and scores no step where there are none.
`refine=False` leaves the refine of step t out of the real context and of the pairs. `standard_error` stops drawing for
a step, after 2, 4, 8, ... of the N draws, where that of the mean over the draws is small enough already.
"""

import math
import statistics
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from igsearch.methods import InformationGainConfig
from igsearch.policy.base import Policy
from igsearch.policy.scorer import Scorer
from igsearch.records import EndReason, Episode, SpanKind
from igsearch.rewards.contexts import Block, Form, answer_ids, form_of, outcome_of, until_query
from igsearch.rewards.likelihood import Ids, Likelihood
from igsearch.seeds import generator

Key = tuple[int | str, ...]
Place = tuple[int, int]
"""A search step: the row of its episode, and its number."""


@dataclass(frozen=True, slots=True)
class StepGain:
    """The information gain of one search step in nats, its parts, and how many of its contexts lost their beginning.

    `real` is NaN where the gain counts as 0 whatever it is, and nothing was measured.
    """

    gain: float
    real: float
    random: tuple[float, ...]
    truncated: int = 0


UNMEASURED = StepGain(0.0, math.nan, ())


@dataclass(frozen=True, slots=True)
class Pair:
    """What one search step brought: its documents block, and the refine that followed (empty without one)."""

    uid: str
    rollout: int
    step: int
    documents: Block
    refine: Block

    @property
    def content(self) -> tuple[Block, Block]:
        """What stands in for another step's outcome."""
        return self.documents, self.refine


def _scorable(episode: Episode, step: int, config: InformationGainConfig) -> bool:
    if episode.end is EndReason.RETRIEVER_FAILED:
        return False
    documents = episode.span_at(SpanKind.DOCUMENTS, step)
    has_query = episode.span_at(SpanKind.SEARCH, step) is not None
    return has_query and documents is not None and len(documents.text) >= config.min_document_chars


def _pair(form: Form, episode: Episode, step: int, config: InformationGainConfig) -> Pair:
    documents, refine = outcome_of(form, episode, step)
    return Pair(episode.question.uid, episode.rollout, step, documents, refine if config.refine else ())


def pool_of(policy: Policy, episodes: Iterable[Episode], config: InformationGainConfig) -> list[Pair]:
    """The pairs of all steps whose documents have `min_document_chars`, sorted by (uid, rollout, step).

    Rollouts whose retriever failed give none.
    """
    form = form_of(policy, config)
    pairs = [
        _pair(form, episode, step, config)
        for episode in episodes
        for step in range(len(episode.steps))
        if _scorable(episode, step, config)
    ]
    return sorted(pairs, key=lambda pair: (pair.uid, pair.rollout, pair.step))


def _candidates(pool: Sequence[Pair], own: Pair, config: InformationGainConfig) -> Sequence[Pair]:
    """The pairs that may stand in for `own`: the narrowest scope that `pool_scope` allows and that holds N of them.

    Shared draws must not depend on the rollout, so they know other questions and, failing those, the whole pool.
    """
    if config.share_draws:
        return [pair for pair in pool if pair.uid != own.uid] or pool
    if config.pool_scope == "sibling":
        return [pair for pair in pool if pair.uid == own.uid and pair.rollout != own.rollout]
    other_pair = [pair for pair in pool if pair.content != own.content]
    other_uid = [pair for pair in other_pair if pair.uid != own.uid]
    scopes = (other_uid, other_pair) if config.pool_scope == "other_uid" else (other_pair,)
    return next((scope for scope in scopes if len(scope) >= config.draws), pool)


def draw(pool: Sequence[Pair], own: Pair, config: InformationGainConfig, key: Key) -> tuple[Pair, ...]:
    """The N counterfactual pairs of a step: none from an empty pool, with replacement from one smaller than N."""
    candidates = _candidates(pool, own, config)
    if not candidates:
        return ()
    identity = (own.uid, own.step) if config.share_draws else (own.uid, own.rollout, own.step)
    random = generator(*key, "counterfactual", *identity)
    chosen = random.choice(len(candidates), size=config.draws, replace=len(candidates) < config.draws)
    return tuple(candidates[index] for index in chosen)


@dataclass(frozen=True, slots=True)
class _Task:
    """One step to score: the real context, the counterfactual ones (none where nothing is subtracted), the answers."""

    row: int
    step: int
    real: Ids
    random: tuple[Ids, ...]
    answers: tuple[Ids, ...]


def _task(form: Form, episode: Episode, row: int, own: Pair, drawn: Sequence[Pair], answers: tuple[Ids, ...]) -> _Task:
    before = until_query(form, episode, own.step)
    contexts = [form.join([*before, *pair.content]) for pair in (own, *drawn)]
    return _Task(row, own.step, contexts[0], tuple(contexts[1:]), answers)


def _stand_ins(pool: Sequence[Pair], own: Pair, config: InformationGainConfig, key: Key) -> tuple[Pair, ...] | None:
    """What stands in for `own` in the counterfactual contexts of its step; None where the step cannot be scored."""
    if config.counterfactual == "pool":
        return draw(pool, own, config, key) or None
    return (replace(own, documents=(), refine=()),) if config.counterfactual == "empty" else ()


def _solved(episodes: Sequence[Episode], rewards: Sequence[float] | None) -> set[str]:
    """The questions of which every rollout that has a reward has the full one."""
    if rewards is None:
        raise ValueError("score_solved_groups=False needs the outcome rewards")
    right = dict.fromkeys((episode.question.uid for episode in episodes), True)
    for episode, reward in zip(episodes, rewards, strict=True):
        right[episode.question.uid] &= reward >= 1 or reward != reward  # NaN: the retriever failed
    return {uid for uid, all_right in right.items() if all_right}


def _tasks(
    policy: Policy,
    episodes: Sequence[Episode],
    config: InformationGainConfig,
    key: Key,
    pool: Sequence[Pair],
    skip: set[str],
) -> Iterable[_Task]:
    form = form_of(policy, config)
    for row, episode in enumerate(episodes):
        gold = episode.question.answers[: config.max_gold_variants]
        answers = tuple(answer_ids(policy, answer, config) for answer in gold)
        for step in range(len(episode.steps)):
            if answers and episode.question.uid not in skip and _scorable(episode, step, config):
                own = _pair(form, episode, step, config)
                drawn = _stand_ins(pool, own, config, key)
                if drawn is not None:
                    yield _task(form, episode, row, own, drawn, answers)


def _best(scores: Sequence[float]) -> int:
    return max(range(len(scores)), key=scores.__getitem__)


def _looks(config: InformationGainConfig) -> list[int]:
    """After how many draws it is asked whether they are enough; the last is N."""
    early = [2**n for n in range(1, config.draws.bit_length()) if 2**n < config.draws]
    return [*(early if config.standard_error is not None else ()), config.draws]


def _enough(drawn: Sequence[float], config: InformationGainConfig) -> bool:
    if config.standard_error is None or len(drawn) < 2:
        return True
    return statistics.stdev(drawn) / math.sqrt(len(drawn)) <= config.standard_error


def _gain(scorer: Likelihood, task: _Task, draws: int, config: InformationGainConfig) -> StepGain:
    """Real context under every answer variant; random contexts under the variant that the real one makes likeliest."""
    contexts = task.random[:draws]
    of_real = scorer([(task.real, answer) for answer in task.answers])
    best = max(range(len(of_real)), key=of_real.__getitem__)
    drawn = tuple(scorer([(context, task.answers[best]) for context in contexts]))
    truncated = sum(len(context) > config.max_context for context in (task.real, *contexts))
    gain = statistics.fmean(of_real[best] - other for other in drawn) if drawn else of_real[best]
    return StepGain(gain, of_real[best], drawn, truncated)


def _gains(scorer: Likelihood, tasks: Sequence[_Task], config: InformationGainConfig) -> list[StepGain]:
    """The gain of each task. Whatever a look needs is scored in one call, since the contexts begin alike."""
    gains: dict[int, StepGain] = {}
    waiting = list(range(len(tasks)))
    for look in _looks(config):
        contexts = ((tasks[n], context) for n in waiting for context in (tasks[n].real, *tasks[n].random[:look]))
        scorer([(context, answer) for task, context in contexts for answer in task.answers])
        gains |= {n: _gain(scorer, tasks[n], look, config) for n in waiting}
        waiting = [n for n in waiting if not _enough(gains[n].random, config)]
    return [gains[n] for n in range(len(tasks))]


def information_gain(
    policy: Policy,
    episodes: Sequence[Episode],
    config: InformationGainConfig,
    key: Key,
    rewards: Sequence[float] | None = None,
    pool: Sequence[Pair] | None = None,
    scorer: Scorer | None = None,
    moot: Collection[Place] = (),
) -> list[list[StepGain | None]]:
    """The gain of each search step of each episode; None where a step is not scored.

    Not scored: steps with less than `min_document_chars` of documents, rollouts whose retriever failed, questions
    without a gold answer, everything where the pool is empty, and with `score_solved_groups=False` (which needs
    `rewards`) groups in which every rollout is right. `key` names the run and the training step: with (uid, rollout,
    step) it determines every draw. `pool` is that of `episodes` unless given, as where the batch is spread over several
    processes. `scorer` is that of the run; None for one that lives as long as the call. Steps in `moot` would be scored
    but for their gain counting as 0 whatever it is: theirs is UNMEASURED.
    """
    skip = set() if config.score_solved_groups else _solved(episodes, rewards)
    pairs = pool_of(policy, episodes, config) if pool is None else pool
    every = list(_tasks(policy, episodes, config, key, pairs, skip))
    tasks = [task for task in every if (task.row, task.step) not in moot]
    scorer = scorer or Scorer(config.pass_tokens, first_whole=False)
    likelihood = Likelihood(policy, scorer, config.max_context, config.head_tokens, config.head_weight)
    measured = {
        (task.row, task.step): gain for task, gain in zip(tasks, _gains(likelihood, tasks, config), strict=True)
    }
    gains: list[list[StepGain | None]] = [[None] * len(episode.steps) for episode in episodes]
    for task in every:
        gains[task.row][task.step] = measured.get((task.row, task.step), UNMEASURED)
    return gains


def _summary(prefix: str, values: Sequence[float]) -> dict[str, float]:
    return {f"{prefix}/mean": statistics.fmean(values), f"{prefix}/steps": float(len(values))} if values else {}


def diagnostics(episodes: Sequence[Episode], gains: Sequence[Sequence[StepGain | None]]) -> dict[str, float]:
    """Figures of one batch for the log: all measured steps, and apart the searches that brought new passages or none.

    Keys without a value (nothing was scored) are left out.
    """
    scored = [
        (step.new_passages > 0, gain)
        for episode, row in zip(episodes, gains, strict=True)
        for step, gain in zip(episode.steps, row, strict=True)
        if gain is not None and not math.isnan(gain.real)
    ]
    unmeasured = {
        "ig/unmeasured": float(sum(gain is not None and math.isnan(gain.real) for row in gains for gain in row))
    }
    if not scored:
        return {"ig/steps": 0.0, **unmeasured}
    values = [gain.gain for _, gain in scored]
    random = [statistics.fmean(gain.random) for _, gain in scored if gain.random]
    return {
        **_summary("ig", values),
        **unmeasured,
        "ig/draws": statistics.fmean(len(gain.random) for _, gain in scored),
        "ig/std": statistics.stdev(values) if len(values) > 1 else 0.0,
        "ig/min": min(values),
        "ig/max": max(values),
        "ig/share_positive": statistics.fmean(value > 0 for value in values),
        "ig/real": statistics.fmean(gain.real for _, gain in scored),
        **({"ig/random": statistics.fmean(random)} if random else {}),
        "ig/truncated": float(sum(gain.truncated for _, gain in scored)),
        **_summary("ig_new_passages", [gain.gain for new, gain in scored if new]),
        **_summary("ig_no_new_passage", [gain.gain for new, gain in scored if not new]),
    }
