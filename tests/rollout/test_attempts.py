"""Several attempts in one response: what is injected between them, what is counted, and where budgets end them."""

import math

from scripted import Shelf, play, question, settings

from igsearch.config import Config, build
from igsearch.policy import generate
from igsearch.policy.base import Policy
from igsearch.records import EndReason, Episode, SpanKind
from igsearch.rewards.answer import attempt_rewards
from igsearch.rollout.attempts import Attempts
from igsearch.rollout.environment import rollout
from igsearch.rollout.prompts import STYLES, question_ids, reflection_ids

ASK = "<search> karvik </search>"
RIGHT, WRONG = "<refine> meldon </refine><answer> meldon </answer>", "<answer> baldon </answer>"
SHELF = {"karvik": "karvik is by meldon", "torras": "torras is in baldon"}


def _injected(policy: Policy, episode: Episode) -> str:
    ids = [i for i, sampled in zip(episode.response_ids, episode.sampled, strict=True) if not sampled]
    return policy.pieces.text(ids)


def test_a_second_attempt_begins_with_a_masked_reflection_and_ends_with_its_own_answer(policy: Policy) -> None:
    (episode,) = play(policy, [[ASK, WRONG, ASK, RIGHT]], Shelf(**SHELF), attempts=2)
    assert (episode.attempts, episode.prediction, episode.end) == (["baldon", "meldon"], "meldon", EndReason.ANSWERED)
    assert [turn.attempt for turn in episode.turns] == [0, 0, 1, 1]
    assert [step.new_passages for step in episode.steps] == [1, 0]
    reflection = reflection_ids(policy, "who wrote karvik", settings(policy))
    start = episode.turns[1].end
    assert episode.response_ids[start : start + len(reflection)] == reflection
    assert not any(episode.sampled[start : start + len(reflection)])
    assert episode.turns[2].start == start + len(reflection)
    assert attempt_rewards("em", episode) == [0.0, 1.0]


def test_an_attempt_is_rewarded_for_its_own_refine_blocks(policy: Policy) -> None:
    noted = "<refine> meldon </refine>" + WRONG
    (episode,) = play(policy, [[ASK, noted, ASK, WRONG]], Shelf(**SHELF), attempts=2)
    assert attempt_rewards("autorefine", episode) == [0.1, 0.0]


def test_each_attempt_has_all_turns_and_one_without_an_answer_is_followed_by_the_next(policy: Policy) -> None:
    script = [ASK, ASK, ASK, "who wrote", RIGHT, ASK, WRONG]
    (episode,) = play(policy, [script], Shelf(**SHELF), attempts=3)
    assert (episode.attempts, episode.prediction) == ([None, "meldon", "baldon"], "baldon")
    assert [turn.attempt for turn in episode.turns] == [0, 0, 0, 1, 1, 2, 2]
    assert [span.step for span in episode.spans_of(SpanKind.SEARCH)] == [0, 1, -1, 2]
    assert (episode.invalid_turns, len(episode.steps)) == (1, 3)


def test_the_prediction_is_the_last_valid_answer_and_the_end_that_of_the_last_attempt(policy: Policy) -> None:
    (episode,) = play(policy, [[RIGHT, ASK, ASK]], Shelf(**SHELF), attempts=2, attempt_turns=2)
    assert (episode.attempts, episode.prediction) == (["meldon", None], "meldon")
    assert episode.end is EndReason.TURN_LIMIT


def test_attempt_turns_count_the_last_one_without_retrieval(policy: Policy) -> None:
    shelf = Shelf(**SHELF)
    (episode,) = play(policy, [[ASK, ASK]], shelf, max_searches=4, attempt_turns=2)
    assert (episode.end, len(shelf.calls), episode.attempts) == (EndReason.TURN_LIMIT, 1, [])


def test_one_attempt_has_no_list_and_no_reflection(policy: Policy) -> None:
    (episode,) = play(policy, [[WRONG, RIGHT]], Shelf(**SHELF))
    assert (episode.attempts, episode.prediction, _injected(policy, episode)) == ([], "baldon", "")


def test_the_budget_is_that_of_the_whole_response(policy: Policy) -> None:
    for budget in range(1, 150, 7):
        (episode,) = play(
            policy, [[ASK, WRONG, ASK, RIGHT, RIGHT]], Shelf(**SHELF), attempts=3, max_response_tokens=budget
        )
        assert len(episode.response_ids) <= 3 * budget
        assert len(episode.attempts) == 3
        if episode.end is EndReason.TOKEN_BUDGET:
            assert episode.attempts[-1] is None


def test_rows_in_different_attempts_do_not_touch_each_other(policy: Policy) -> None:
    scripts = [[WRONG, ASK, RIGHT], [ASK, ASK, ASK, RIGHT], [RIGHT, WRONG], ["<search> fail </search>"]]
    together = play(policy, scripts, Shelf(**SHELF), attempts=2)
    for row, script in enumerate(scripts):
        (alone,) = play(policy, [script], Shelf(**SHELF), attempts=2)
        assert alone.response_ids == together[row].response_ids
        assert (alone.attempts, alone.end, alone.turns) == (
            together[row].attempts,
            together[row].end,
            together[row].turns,
        )
    failed = together[3]
    assert (failed.end, failed.attempts) == (EndReason.RETRIEVER_FAILED, [None, None])
    assert [math.isnan(reward) for reward in attempt_rewards("em", failed)] == [True]


def test_the_first_attempt_is_the_episode_of_one_attempt(policy: Policy) -> None:
    asked = [question(str(i), text) for i, text in enumerate(["who wrote karvik", "where was torras born"])]
    roomy = settings(policy, max_turn_tokens=12, max_response_tokens=2000)
    (one, three) = (
        rollout(policy, Shelf(**SHELF), asked, [0, 1], roomy.model_copy(update={"attempts": count}), 1, (5, "train"))
        for count in (1, 3)
    )
    for short, long in zip(one, three, strict=True):
        first = sum(turn.attempt == 0 for turn in long.turns)
        assert long.turns[:first] == short.turns
        assert long.response_ids[: len(short.response_ids)] == short.response_ids
        assert {turn.attempt for turn in long.turns} == {0, 1, 2}


def test_in_a_chat_the_reflection_is_a_message_of_the_user(bpe_policy: Policy) -> None:
    text = bpe_policy.pieces.text(reflection_ids(bpe_policy, "who", settings(bpe_policy)))
    assert text.startswith("<|im_end|>\n<|im_start|>user\nLook back")
    assert text.endswith("<|im_end|>\n<|im_start|>assistant\n")
    bare = settings(bpe_policy, prompt="plain")
    assert bpe_policy.pieces.text(reflection_ids(bpe_policy, "who", bare)) == STYLES["plain"].reflection


def test_an_end_of_turn_that_the_policy_wrote_is_not_written_twice(bpe_policy: Policy) -> None:
    config = settings(bpe_policy, attempts=2)
    attempts, end = Attempts(bpe_policy, config), bpe_policy.tokenizer.eos_token_id
    assert end in generate.eos_ids(bpe_policy)
    (episode,) = play(bpe_policy, [[WRONG, RIGHT]], Shelf(**SHELF), attempts=2)
    whole = attempts.reflection(episode)
    episode.response_ids.append(end)
    assert whole[0] == end
    assert attempts.reflection(episode) == whole[1:]


def test_the_tiny_policy_is_told_by_one_token_and_the_question(tiny_policy: Policy) -> None:
    ids = reflection_ids(tiny_policy, "who <reflect> karvik", settings(tiny_policy))
    asked = question_ids(tiny_policy, "who <reflect> karvik")
    assert ids == [tiny_policy.tokenizer.convert_tokens_to_ids("<reflect>"), *asked]
    assert ids[0] not in asked


def test_a_method_brings_its_attempts_into_the_rollout() -> None:
    config = Config()
    own = config.for_method("mr_search").rollout
    assert (own.attempts, own.response_tokens) == (3, 3 * config.rollout.max_response_tokens)
    assert config.for_method("grpo") == config
    all_twice = build({"rollout": {"attempts": 2}, "methods": {"mr_search": {"attempt_turns": 3}}})
    assert all_twice.for_method("grpo").rollout.attempts == 2
    assert (all_twice.for_method("mr_search").rollout.attempts, all_twice.rollout.attempt_turns) == (3, None)
    assert all_twice.for_method("mr_search").rollout.attempt_turns == 3


def test_information_tags_hold_documents(policy: Policy) -> None:
    style = "tiny_search_r1" if policy.name == "tiny" else "search_r1"
    (episode,) = play(policy, [[ASK, WRONG]], Shelf(**SHELF), prompt=style)
    block = episode.span_at(SpanKind.DOCUMENTS, 0)
    assert block is not None
    assert block.text == "karvik is by meldon"
    text = _injected(policy, episode).strip()
    assert text.startswith("<information>")
    assert text.endswith("</information>")
    assert "refine" not in STYLES[style].agent + STYLES[style].reflection
