"""The tags of the search protocol: how observations are rendered and how a sampled turn is read.

Reading works on the bytes of the tokens that the policy sampled in one turn, and on nothing else: what the environment
wrote is never read, so a passage that contains `<answer>` or `</documents>` is inert.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from igsearch.config import RolloutConfig
from igsearch.policy.base import Policy
from igsearch.records import Hit, SpanKind
from igsearch.rollout.prompts import STYLES, trusted_ids


def open_tag(kind: SpanKind) -> str:
    """`<search>` and its kin."""
    return f"<{kind.value}>"


def close_tag(kind: SpanKind) -> str:
    """`</search>` and its kin."""
    return f"</{kind.value}>"


@dataclass(frozen=True, slots=True)
class Observation:
    """An injected documents block: its ids, and where the inner text lies in them (end exclusive)."""

    ids: list[int]
    start: int
    end: int
    text: str


def render_hits(hits: Sequence[Hit], template: str) -> str:
    """The passages as text, each through `template` with `{k}` (from 1), `{title}` and `{text}`."""
    return "".join(
        template.format(k=rank, title=hit.passage.title, text=hit.passage.text)
        for rank, hit in enumerate(hits, start=1)
    )


def observation(policy: Policy, hits: Sequence[Hit], config: RolloutConfig) -> Observation:
    """The documents block for `hits`, at most `max_observation_tokens` long.

    Too long a text is cut on the right and the closing tag kept; the original scripts cut the tag off with it.
    """
    style = STYLES[config.prompt]
    opening, closing = trusted_ids(policy, style.documents_open), trusted_ids(policy, style.documents_close)
    room = max(0, config.max_observation_tokens - len(opening) - len(closing))
    inner = policy.encode(render_hits(hits, config.document_template))[:room]
    text = b"".join(map(policy.pieces.bytes, inner)).decode("utf-8", errors="ignore")
    return Observation([*opening, *inner, *closing], len(opening), len(opening) + len(inner), text.strip())
