"""What each deviation from the released scorer does to the information gain, measured on the same rollouts.

The scorer is that of IG-Search (arXiv 2604.15148), as its authors released it (MaYufei-NPU/IG-Search). Every convention
of it that differs from ours is tried alone against our defaults, then all of them together. So are the other choices
where both agree, and another seed of the draws, which tells how much the draws alone move a gain.

Most are settings of `InformationGainConfig`. The others change what a context is cut from: an episode is rewritten so
that our own code, unchanged, reads in it what the other convention would have read in the original.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice, pairwise
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any, Literal

import torch

from igsearch.errors import UserError
from igsearch.evaluation.statistics import bootstrap
from igsearch.evaluation.traces import episode_of, read_records
from igsearch.methods import InformationGainConfig
from igsearch.policy.base import Policy
from igsearch.policy.scorer import Rows, Scorer
from igsearch.policy.shared import score_shared
from igsearch.records import Episode, Span, SpanKind
from igsearch.rewards.contexts import form_of, outcome_of, until_query
from igsearch.rewards.information_gain import Key, StepGain, information_gain
from igsearch.rollout.protocol import Block, TurnText

Row = dict[str, Any]
Gains = Sequence[Sequence[StepGain | None]]
Alter = Callable[[Policy, Episode], Episode]
Progress = Callable[[str, int, int], None]

DEAD_ZONE = 0.1
"""Nats: within it a gain counts as 0 by default (docs/methods/ig_search.md)."""
EQUAL = 1e-4
"""Nats: gains that are closer differ by rounding only."""

_SEARCH = re.compile(rb"<search>(.*?)</search>", re.DOTALL)
_PARTS = (SpanKind.SEARCH, SpanKind.DOCUMENTS, SpanKind.REFINE)


@dataclass(frozen=True)
class Arm:
    """One other way to measure. kind: `noise` differs in the draws alone, `released` is how the released scorer does it
    (`together`: everything), `alike` a choice that it makes as we do.

    unchanged: what is the case where no gain changes.
    """

    name: str
    kind: Literal["noise", "released", "together", "alike"]
    means: str
    unchanged: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    alter: Alter | None = None
    redraw: bool = False


def _searches_in_text(policy: Policy, episode: Episode) -> list[Span]:
    """Every search that stands in the response as a text, executed or not, whoever wrote it: at least one a step.

    One that was opened several times begins with the first opening tag, so that of the first ends the prefix.
    """
    text = TurnText(policy.pieces, episode.response_ids)
    blocks = (Block(SpanKind.SEARCH, m.start(), m.start(1), m.end(1), m.end()) for m in _SEARCH.finditer(text.data))
    return [text.span(block, 0) for block in blocks]


def _parts(episode: Episode, step: int, query: Span | None = None) -> list[Span]:
    """Query, documents and refine of a step, as far as there are any; with another query in place of its own."""
    own = [episode.span_at(kind, step) for kind in _PARTS]
    return [span for span in (query or own[0], *own[1:]) if span]


def rewritten(episode: Episode, end: int, queries: Sequence[Span | None]) -> Episode:
    """The episode as its contexts have it: `end` tokens of the response, then query, documents and refine by step.

    queries: of each step, None for its own. A token that two blocks in a row share stands there once.
    """
    ids, spans = list(episode.response_ids[:end]), list[Span]()
    before = (0, end)
    for step, query in enumerate(queries):
        for span in _parts(episode, step, query):
            shared = int(before[0] <= span.outer_start == before[1] - 1 < span.outer_end - 1)
            offset = len(ids) - shared - span.outer_start
            ids += episode.response_ids[span.outer_start + shared : span.outer_end]
            spans.append(_moved(span, offset, step))
            before = span.outer_start, span.outer_end
    return replace(
        episode,
        response_ids=ids,
        sampled=[False] * len(ids),
        logprobs=[0.0] * len(ids),
        spans=spans,
    )


def _moved(span: Span, by: int, step: int) -> Span:
    ends = {name: getattr(span, name) + by for name in ("start", "end", "outer_start", "outer_end")}
    return replace(span, **ends, step=step)


def paired_by_number(policy: Policy, episode: Episode) -> Episode:
    """The k-th documents belong to the k-th search in the text: one that found none shifts all that follow."""
    own = {span.outer_end: span for span in episode.spans_of(SpanKind.SEARCH)}
    queries = [own.get(span.outer_end, span) for span in _searches_in_text(policy, episode)]
    end = min(span.outer_start for span in own.values())
    return rewritten(episode, end, queries[: len(episode.steps)])


def from_first_opened(policy: Policy, episode: Episode) -> Episode:
    """The prefix ends where a search is first opened, even if that one was given up."""
    return rewritten(episode, _searches_in_text(policy, episode)[0].outer_start, [None] * len(episode.steps))


def as_released(policy: Policy, episode: Episode) -> Episode:
    """Both, and a search begins where it was first opened."""
    queries = _searches_in_text(policy, episode)[: len(episode.steps)]
    return rewritten(episode, queries[0].outer_start, queries)


def with_thoughts(_: Policy, episode: Episode) -> Episode:
    """What the policy wrote between two blocks of a context belongs to the later one, so that nothing is left out."""
    parts = [span for step in range(len(episode.steps)) for span in _parts(episode, step)]
    longer = {after: replace(after, outer_start=before.outer_end) for before, after in pairwise(parts)}
    return replace(episode, spans=[longer.get(span, span) for span in episode.spans])


_RELEASED = (
    Arm(
        "pool: any pair", "released",
        "pairs of the question's other rollouts can be drawn",
        "both pools hold the same pairs", {"pool_scope": "other_pair"},
    ),
    Arm(
        "contexts as text", "released",
        "blocks joined by line breaks, tokenised again",
        "text and slices spell the same tokens: white space between the blocks is none to this tokenizer",
        {"contexts": "text"},
    ),
    Arm(
        "space in context", "released",
        "the space before the answer ends the context",
        "a space is no token to this tokenizer", {"answer_space": "authors"},
    ),
    Arm(
        "pairing by number", "released",
        "k-th documents with k-th search in the text",
        "no search without documents precedes one with documents", alter=paired_by_number,
    ),
    Arm(
        "earliest prefix", "released",
        "the prefix ends where a search is first opened, even one that was given up",
        "no search was opened and given up before the first complete one", alter=from_first_opened,
    ),
)  # fmt: skip


def arms(longest: int) -> tuple[Arm, ...]:
    """Everything that is measured. longest: tokens of the longest context, half of which one of them keeps."""
    every = dict(chain.from_iterable(arm.settings.items() for arm in _RELEASED))
    half = max(1, longest // 2)
    return (
        Arm(
            "another draw", "noise", "our defaults with another seed of the draws",
            "every search draws all the pairs there are", redraw=True,
        ),
        *_RELEASED,
        Arm("released form", "together", f"all {len(_RELEASED)} of these", settings=every, alter=as_released),
        Arm(
            "thoughts kept", "alike", "what was written between the blocks of a context stays in it",
            "nothing is written between the blocks of a context", alter=with_thoughts,
        ),
        Arm(
            "never cut", "alike", "no limit to the tokens of a context",
            f"no context is too long: the longest real one has {longest:,} tokens", {"max_context": 10**9},
        ),
        Arm(
            f"last {half:,} tokens", "alike",
            f"contexts lose their beginning beyond {half:,} tokens, half of the longest",
            settings={"max_context": half},
        ),
        Arm(
            "likeliest alias", "alike", "all gold aliases are tried, the likeliest in the real context counts",
            "no question has a second alias that is likelier", {"max_gold_variants": None},
        ),
        Arm("no refine", "alike", "the step's refine is left out", "no step has a refine", {"refine": False}),
    )  # fmt: skip


class _Remembering(Scorer):
    """The scorer, asked for each row once: arms share many. Shared beginnings are held against plain rows at first."""

    def __init__(self, pass_tokens: int) -> None:
        super().__init__(pass_tokens, first_whole=False)
        self._known: dict[tuple[tuple[int, ...], tuple[int, ...]], torch.Tensor] = {}

    def __call__(self, policy: Policy, contexts: Rows, continuations: Rows) -> list[torch.Tensor]:
        rows = [(tuple(context), tuple(rest)) for context, rest in zip(contexts, continuations, strict=True)]
        missing = [row for row in dict.fromkeys(rows) if row not in self._known]
        read = [row[0] for row in missing], [row[1] for row in missing]
        first = self.fallback or not self._known
        found = super().__call__(policy, *read) if first else score_shared(policy, *read, self.pass_tokens)
        self._known.update(zip(missing, found, strict=True))
        return [self._known[row] for row in rows]


def gains_of(
    policy: Policy,
    episodes: Sequence[Episode],
    arm: Arm,
    config: InformationGainConfig,
    key: Key,
    scorer: Scorer,
    batch: int | None = None,
) -> Gains:
    """The gain of each search as `arm` measures it, everything else as `config` has it.

    batch: how many rollouts in a row give one another counterfactual pairs; None for all.
    """
    changed = InformationGainConfig.model_validate({**config.model_dump(), **arm.settings})
    altered = [arm.alter(policy, each) if arm.alter and each.steps else each for each in episodes]
    drawn, size = (*key, "again") if arm.redraw else key, batch or len(altered)
    parts = [altered[start : start + size] for start in range(0, len(altered), size)]
    return [gains for part in parts for gains in information_gain(policy, part, changed, drawn, scorer=scorer)]


def _longest(policy: Policy, episodes: Sequence[Episode], config: InformationGainConfig) -> int:
    form = form_of(policy, config)
    return max(
        len(form.join([*until_query(form, episode, step), *outcome_of(form, episode, step)]))
        for episode in episodes
        for step in range(len(episode.steps))
    )


def ledger(
    policy: Policy,
    episodes: Sequence[Episode],
    config: InformationGainConfig,
    key: Key,
    batch: int | None = None,
    progress: Progress = lambda *_: None,
) -> list[Row]:
    """One row for each of `arms`. Gains in nats per weighted answer token; what a row holds: `compared`.

    config: our defaults. batch: as for `gains_of`. UserError where no rollout has searched, and for draws that a group
    shares, which have no other form to be compared with.
    """
    if not any(episode.steps for episode in episodes):
        raise UserError("no rollout holds a search with documents, so there is no gain to compare; take other rollouts")
    if config.share_draws:
        raise UserError("the ledger compares draws of single rollouts; set information_gain.share_draws to false")
    base = config.model_copy(update={"score_solved_groups": True})
    tried, scorer = arms(_longest(policy, episodes, base)), _Remembering(base.pass_tokens)
    ours = gains_of(policy, episodes, Arm("ours", "alike", ""), base, key, scorer, batch)
    rows = []
    for done, arm in enumerate(tried, start=1):
        theirs = gains_of(policy, episodes, arm, base, key, scorer, batch)
        found = compared(episodes, ours, theirs, arm.name)
        why = arm.unchanged if found["steps"] and not found["changed"] else None
        rows.append({"deviation": arm.name, "kind": arm.kind, "means": arm.means, **found, "why_unchanged": why})
        progress("deviations", done, len(tried))
    return rows


def compared(episodes: Sequence[Episode], ours: Gains, theirs: Gains, name: str = "") -> Row:
    """What differs between two measurements of the same searches.

    Means (`ours`, `theirs`, `difference` with its 95 % interval `low` to `high`) are over questions, of which each
    counts with the mean of its searches; the interval resamples questions. All else is over searches: `spread` is the
    standard deviation of ours, `absolute` the mean size of the difference, `flips` counts gains of opposite sign and
    `flips_outside` those of them where both are outside the dead zone, `rank` is Spearman's correlation. `only_ours`,
    `only_theirs`: searches that one of the two can not score. Figures without a value are None.
    """
    places = [(row, step) for row, of in enumerate(ours) for step in range(len(of))]
    both = [(row, ours[row][step], theirs[row][step]) for row, step in places]
    scored = [(episodes[row].question.uid, one.gain, other.gain) for row, one, other in both if one and other]
    return {
        "rollouts": len({row for row, one, other in both if one and other}),
        "questions": len({uid for uid, *_ in scored}),
        "steps": len(scored),
        "only_ours": sum(one is not None and other is None for _, one, other in both),
        "only_theirs": sum(one is None and other is not None for _, one, other in both),
        **_by_question(scored, name),
        **_by_step([(one, other) for _, one, other in scored]),
    }


def _by_question(scored: Iterable[tuple[str, float, float]], name: str) -> Row:
    groups: dict[str, list[tuple[float, float]]] = {}
    for uid, one, other in scored:
        groups.setdefault(uid, []).append((one, other))
    if not groups:
        return dict.fromkeys(("ours", "theirs", "difference", "low", "high"))
    ours = [fmean(one for one, _ in group) for group in groups.values()]
    theirs = [fmean(other for _, other in group) for group in groups.values()]
    differences = [other - one for one, other in zip(ours, theirs, strict=True)]
    low, high = bootstrap(differences, name) if len(groups) > 1 else (None, None)
    means = {"ours": fmean(ours), "theirs": fmean(theirs), "difference": fmean(differences)}
    return {**means, "low": low, "high": high}


def _by_step(scored: Sequence[tuple[float, float]]) -> Row:
    if not scored:
        return dict.fromkeys(("changed", "spread", "absolute", "flips", "flips_outside", "rank"))
    apart = [abs(one - other) for one, other in scored]
    flipped = [pair for pair in scored if pair[0] * pair[1] < 0]
    return {
        "changed": sum(size > EQUAL for size in apart),
        "spread": pstdev(one for one, _ in scored),
        "absolute": fmean(apart),
        "flips": len(flipped),
        "flips_outside": sum(min(map(abs, pair)) >= DEAD_ZONE for pair in flipped),
        "rank": _spearman(scored),
    }


def _spearman(scored: Sequence[tuple[float, float]]) -> float | None:
    """None where either side is the same throughout."""
    from scipy.stats import spearmanr

    ours, theirs = zip(*scored, strict=True)
    if len(set(ours)) < 2 or len(set(theirs)) < 2:
        return None
    return float(spearmanr(ours, theirs).statistic)


def recorded(policy: Policy, path: Path, limit: int | None) -> list[Episode]:
    """The first `limit` rollouts of a trace file that searched. UserError where none did."""
    episodes = (episode_of(policy, record) for record in read_records(path))
    chosen = list(islice((episode for episode in episodes if episode.steps), limit))
    if not chosen:
        raise UserError(f"no rollout in {path} holds a search with an information block after it")
    return chosen
