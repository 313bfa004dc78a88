"""What one episode shows beyond right or wrong. Training and evaluation measure it alike."""

from igsearch.records import Episode
from igsearch.retrieval.hits import holds_answer


def retrieval_hit(episode: Episode) -> bool | None:
    """Whether a retrieved passage is a hit (retrieval/hits.py); None without a search."""
    if not episode.steps:
        return None
    return any(holds_answer(hit.passage, episode.question.answers) for step in episode.steps for hit in step.hits)


def first_query_useful(episode: Episode) -> bool | None:
    """Whether the first query brought a passage with the first fact of the question's chain.

    `metadata["chain"]` lists, hop by hop, the ids of the passages any of which holds that hop's fact. None where there
    is no such list (real questions) or nothing was searched.
    """
    facts = episode.question.metadata.get("chain")
    if not facts or not episode.steps:
        return None
    return any(hit.passage.id in facts[0] for hit in episode.steps[0].hits)
