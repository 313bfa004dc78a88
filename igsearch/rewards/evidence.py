"""Which searches brought evidence: a plain function in the place of a judge.

    evidence_t = 1 if a passage that no earlier search of the rollout brought holds a gold answer, or is one of the
                 passages behind the question where these are known; else 0

A search brings what is shown of it: passages beyond `max_observation_tokens` count for nothing.
A passage holds an answer if its title or its text does as whole words. The passages behind a question are known in the
synthetic world (`metadata["chain"]`): there the searches for intermediate facts count as well, and yes and no, which no
passage holds, are no obstacle.

CW-GRPO (arXiv 2604.14267) has a language model judge every round: whether what was retrieved is useful and new, and
whether the reasoning is supported; its contribution is the product of the two. This is the first bit without a model;
the second has no counterpart.
"""

from igsearch.records import Episode, Hit
from igsearch.retrieval.hits import holds_answer


def new_hits(episode: Episode) -> list[list[Hit]]:
    """For each search step the hits that were shown and whose passages no earlier step had shown."""
    seen: set[str] = set()
    fresh = []
    for step in episode.steps:
        fresh.append([hit for hit in step.shown_hits if hit.passage.id not in seen])
        seen |= {hit.passage.id for hit in step.shown_hits}
    return fresh


def evidence(episode: Episode) -> list[float | None]:
    """1 for each search step that brought evidence, else 0."""
    behind = {passage for hop in episode.question.metadata.get("chain", ()) for passage in hop}
    answers = episode.question.answers
    return [
        float(any(hit.passage.id in behind or holds_answer(hit.passage, answers) for hit in hits))
        for hits in new_hits(episode)
    ]
