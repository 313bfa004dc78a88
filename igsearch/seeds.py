"""Counter-based randomness: the seed of every draw is a function of what is drawn, never of what was drawn before.

So neither the order of rows nor the batch size nor the number of workers changes a draw, and a resumed run needs no
saved generator.
"""

from hashlib import blake2b

import numpy as np


def derive_seed(*key: int | str) -> int:
    """A 63-bit seed for `key`, by convention (run seed, purpose, step, question uid, rollout, turn, draw)."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in key)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*key: int | str) -> np.random.Generator:
    """A NumPy generator (Philox) of its own for `key`."""
    return np.random.Generator(np.random.Philox(derive_seed(*key)))
