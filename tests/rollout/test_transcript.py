"""Episodes as plain data."""

import json

from scripted import Shelf, play

from igsearch.policy.base import Policy
from igsearch.rollout.transcript import trajectory


def test_trajectory_is_json_and_its_segments_are_the_response(policy: Policy) -> None:
    script = ["<search> karvik </search>", "<refine> meldon </refine><answer> meldon </answer>"]
    (episode,) = play(policy, [script], Shelf(karvik="karvik is by meldon"))
    line = json.loads(json.dumps(trajectory(episode, policy)))
    assert "".join(part["text"] for part in line["segments"]) == policy.pieces.text(episode.response_ids)
    assert [part["by"] for part in line["segments"]] == ["policy", "environment", "policy"]
    assert line["prompt"] == policy.pieces.text(episode.prompt_ids)
    assert line["end"] == "answered"
    assert line["steps"] == [
        {"query": "karvik", "hits": [{"id": "karvik", "title": "karvik", "score": 1.0}], "shown": 1, "new_passages": 1}
    ]
    assert [span["kind"] for span in line["spans"]] == ["search", "documents", "refine", "answer"]
    assert len(line["sampled"]) == len(line["response_ids"])
