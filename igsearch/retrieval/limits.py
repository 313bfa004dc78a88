"""How much a retrieval service takes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a service takes. `passages` bounds an answer: queries times topk; `client_s` is how long a client may let
    the service wait for its body, and for each 64 KiB of the answer; `grace_s` how long a shutdown waits for requests.
    """

    body_bytes: int = 1 << 20
    queries: int = 4096
    query_characters: int = 4096
    topk: int = 100
    passages: int = 16_384
    workers: int = 2
    waiting: int = 64
    connections: int = 1024
    client_s: float = 10.0
    grace_s: float = 30.0


LIMITS = Limits()
