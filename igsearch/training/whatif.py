"""The information gain that a search would have had with another query or other documents.

The refine that followed was written about the documents that were found and says nothing about others: so what was and
what would be are both measured without it, against the same random documents.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from igsearch.config import RolloutConfig
from igsearch.methods import InformationGainConfig
from igsearch.policy.base import Policy
from igsearch.records import Episode, Hit, SearchStep, Span, SpanKind
from igsearch.rewards.information_gain import Key, StepGain, information_gain, pool_of
from igsearch.rollout.prompts import trusted_ids
from igsearch.rollout.protocol import close_tag, observation, open_tag


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Gains of one search, None where it cannot be scored: as it was, as it was but for its refine, and as it would be.
    `shown`: the documents that the policy would have read."""

    recorded: StepGain | None
    without_refine: StepGain | None
    altered: StepGain | None
    shown: str


def altered(
    policy: Policy, episode: Episode, step: int, query: str | None, hits: Sequence[Hit], config: RolloutConfig
) -> Episode:
    """The episode up to the documents of `step`, with another query (None: its own) and these documents.

    ValueError where the search has no query or no documents.
    """
    search, documents = episode.span_at(SpanKind.SEARCH, step), episode.span_at(SpanKind.DOCUMENTS, step)
    if search is None or documents is None:
        raise ValueError(f"search {step} has no query or no documents")
    start, spans = search.outer_start, [span for span in episode.spans if span.outer_end <= search.outer_start]
    own = episode.response_ids[start : documents.outer_start]
    asked = own if query is None else _search_ids(policy, query)
    begin, seen = start + len(asked), observation(policy, hits, config)
    inner, outer = (begin + seen.start, begin + seen.end), (begin, begin + len(seen.ids))
    spans.append(search if query is None else Span(SpanKind.SEARCH, start, begin, start, begin, step, query))
    spans.append(Span(SpanKind.DOCUMENTS, *inner, *outer, step, seen.text))
    found = SearchStep(episode.steps[step].query if query is None else query, tuple(hits), len(hits), seen.shown)
    return replace(
        episode,
        response_ids=[*episode.response_ids[:start], *asked, *seen.ids],
        sampled=[*episode.sampled[:start], *[True] * len(asked), *[False] * len(seen.ids)],
        logprobs=[*episode.logprobs[:start], *[0.0] * (len(asked) + len(seen.ids))],
        spans=spans,
        steps=[*episode.steps[:step], found],
    )


def _search_ids(policy: Policy, query: str) -> list[int]:
    opening, closing = trusted_ids(policy, open_tag(SpanKind.SEARCH)), trusted_ids(policy, close_tag(SpanKind.SEARCH))
    return [*opening, *policy.encode(f" {query}"), *closing]


def what_if(
    policy: Policy,
    rollouts: Sequence[Episode],
    row: int,
    step: int,
    query: str | None,
    hits: Sequence[Hit],
    config: RolloutConfig,
    settings: InformationGainConfig,
    key: Key,
) -> WhatIf:
    """Measure search `step` of `rollouts[row]` as it was, and with a query or documents in place of its own.

    rollouts: those that give the counterfactual pairs, as they did when the gain was recorded under `key`.
    """
    whole = settings.model_copy(update={"score_solved_groups": True})
    bare = whole.model_copy(update={"refine": False})
    episode = rollouts[row]
    other = altered(policy, episode, step, query, hits, config)

    def gain(of: Episode, how: InformationGainConfig) -> StepGain | None:
        return information_gain(policy, [of], how, key, pool=pool_of(policy, rollouts, how))[0][step]

    shown = other.spans[-1].text
    return WhatIf(gain(episode, whole), gain(episode, bare), gain(other, bare), shown)
