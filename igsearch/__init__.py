"""igsearch: search agents trained with reinforcement learning, compared honestly."""

__version__ = "0.1.0"
