"""Where decoding begins. What decodes (torch, transformers) is imported when it does: tables read prompts only."""

from collections.abc import Sequence

from igsearch.policy.base import Policy, Session


def start(policy: Policy, contexts: Sequence[Sequence[int]]) -> Session:
    """A session with one row per context (each at least one token). Nothing is computed before the first turn.

    Raises UserError for a model that does not attend to its whole context (sliding windows, linear attention).
    """
    from igsearch.policy.decode import CachedSession

    if not all(contexts):
        raise ValueError("every context needs at least one token")
    return CachedSession(policy, contexts)


def eos_ids(policy: Policy) -> frozenset[int]:
    """Every id that ends a turn: those of the tokenizer, the model's configuration and its generation configuration."""
    sources = (policy.tokenizer, policy.model.config, policy.model.generation_config)
    found = [getattr(source, "eos_token_id", None) for source in sources]
    return frozenset(i for ids in found for i in (ids if isinstance(ids, (list, tuple)) else [ids]) if i is not None)
