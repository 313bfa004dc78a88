"""Counter-based randomness."""

import subprocess
import sys

from igsearch.seeds import derive_seed, generator


def test_a_draw_depends_on_its_key_alone() -> None:
    first = generator(0, "rollout", 3, "nq/1", 0).random(4)
    generator(1, "other").random(100)
    assert (generator(0, "rollout", 3, "nq/1", 0).random(4) == first).all()


def test_keys_that_print_alike_differ() -> None:
    keys = [(1, 2), (12,), ("1", 2), ("1\x1f2",), (1, "2"), (2, 1)]
    assert len({derive_seed(*key) for key in keys}) == len(keys)


def test_seeds_are_the_same_in_every_process() -> None:
    code = "from igsearch.seeds import derive_seed; print(derive_seed(7, 'x'))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == derive_seed(7, "x")
