"""Both kinds of tokenizer for every test that asks for a policy."""

from both_policies import episodes, policies, policy

__all__ = ["episodes", "policies", "policy"]
