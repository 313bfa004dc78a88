"""What a method needs is checked before any training, in one sentence."""

import pytest

from igsearch.config import build
from igsearch.errors import UserError
from igsearch.methods import METHODS
from igsearch.records import Question
from igsearch.training import requirements


@pytest.mark.parametrize("name", ["grpo", "ig_search"])
def test_groups_of_one_are_refused_where_rollouts_are_compared(name: str) -> None:
    config = build({"train": {"group_size": 1}})
    with pytest.raises(UserError, match=f"{name} compares the rollouts of one question"):
        requirements.check(config, name, [])


def test_a_rule_from_outside_may_have_groups_of_one() -> None:
    own = METHODS["grpo"].model_copy(update={"rule": "my.package:rule"})
    config = build({"train": {"group_size": 1}}).model_copy(update={"methods": {"own": own}})
    requirements.check(config, "own", [])


def test_a_methods_group_size_keeps_the_number_of_rollouts() -> None:
    config = build({"methods": {"grpo": {"group_size": 4}}})
    train = config.for_method("grpo").train
    assert (train.group_size, train.prompts_per_step) == (4, 24)
    assert config.for_method("ig_search") == config
    with pytest.raises(UserError, match=r"methods\.grpo\.group_size=7"):
        build({"methods": {"grpo": {"group_size": 7}}}).for_method("grpo")


def test_the_format_reward_judges_one_attempt() -> None:
    config = build({"rollout": {"attempts": 3}})
    with pytest.raises(UserError, match="search_r1_format judges a response with one attempt"):
        requirements.check(config, "search_r1_format", [])


def test_a_rule_of_step_rewards_needs_one() -> None:
    config = build({"methods": {"cw_grpo": {"step_reward": None}}})
    with pytest.raises(UserError, match=r"needs a methods\.cw_grpo\.step_reward; set it to evidence"):
        requirements.check(config, "cw_grpo", [])


@pytest.mark.parametrize(
    ("name", "wrong", "wanted"),
    [("cw_grpo", "stepsearch", "evidence"), ("stepsearch_reward", "evidence", "stepsearch")],
)
def test_a_rule_of_step_rewards_needs_its_own_kind(name: str, wrong: str, wanted: str) -> None:
    """Shares of a sum that may be negative or zero are no shares."""
    gold = Question("c", "musique", "who", ("b",), metadata={"gold_paragraphs": [{"title": "", "text": "b is it"}]})
    config = build({"methods": {name: {"step_reward": wrong}}})
    with pytest.raises(UserError, match=rf"set it to {wanted} \(it is {wrong}\)"):
        requirements.check(config, name, [gold])


@pytest.mark.parametrize("exploring", [2, 3])
def test_some_attempt_counts(exploring: int) -> None:
    """Else every advantage is zero and nothing is learnt."""
    settings = {"attempts": 2, "mr_search": {"exploration_attempts": exploring}}
    config = build({"methods": {"mr_search": settings}}).for_method("mr_search")
    with pytest.raises(UserError, match=rf"exploration_attempts={exploring} the reward of none of its 2 attempts"):
        requirements.check(config, "mr_search", [])
    settings["mr_search"] = {"exploration_attempts": 1}
    requirements.check(build({"methods": {"mr_search": settings}}), "mr_search", [])


def test_stepsearch_needs_gold_paragraphs() -> None:
    plain = Question("a", "nq", "who", ("b",))
    gold = Question("c", "musique", "who", ("b",), metadata={"gold_paragraphs": [{"title": "", "text": "b is it"}]})
    requirements.check(build({}), "stepsearch_reward", [plain, gold])
    with pytest.raises(UserError, match="none of the 1 training questions has any") as error:
        requirements.check(build({}), "stepsearch_reward", [plain])
    assert "\n" not in str(error.value)


def test_settings_alone_tell_which_benchmarks_have_no_gold_paragraphs() -> None:
    requirements.check_settings(build({"data": {"train": ["nq", "musique"]}}), "stepsearch_reward")
    with pytest.raises(UserError, match="the questions of nq, popqa have none; train on hotpotqa, 2wikimultihopqa or"):
        requirements.check_settings(build({"data": {"train": ["nq", "popqa"]}}), "stepsearch_reward")
    gold = Question("c", "nq", "who", ("b",), metadata={"gold_paragraphs": [{"title": "", "text": "b is it"}]})
    requirements.check(build({"data": {"train": ["nq"]}}), "stepsearch_reward", [gold])  # from a caller's own file


def test_every_method_of_the_project_can_be_trained_with_its_settings() -> None:
    for name in METHODS:
        requirements.check_settings(build({}), name)


@pytest.mark.parametrize(
    ("prompt", "setting"),
    [("tiny", "think_first"), ("tiny_search_r1", "think_first"), ("tiny_search_r1", "note_after_documents")],
)
def test_a_format_that_no_response_could_have_is_refused(prompt: str, setting: str) -> None:
    form = {"think_first": False, "note_after_documents": False, setting: True}
    config = build({"rollout": {"prompt": prompt}, "methods": {"search_r1_format": {"search_r1_format": form}}})
    with pytest.raises(UserError, match=f"{setting}=true"):
        requirements.check(config, "search_r1_format", [])


def test_a_rule_needs_the_settings_that_bear_its_name() -> None:
    for rule, setting in (("igpo", "igpo"), ("ig_search", "information_gain")):
        with pytest.raises(UserError, match=rf"method mine: the rule {rule} needs methods\.mine\.{setting}"):
            requirements.check(build({"methods": {"mine": {"rule": rule}}}), "mine", [])
        requirements.check(build({"methods": {"mine": {"rule": rule, setting: {}}}}), "mine", [])


def test_the_random_control_is_one_of_ig_search() -> None:
    config = build({"methods": {"grpo": {"permuted": True}, "ig_search": {"permuted": True}}})
    with pytest.raises(UserError, match="permuted is the random control of the rule ig_search, not of grpo"):
        requirements.check(config, "grpo", [])
    requirements.check(config, "ig_search", [])


def test_pairs_that_depend_on_the_rollout_cannot_be_shared() -> None:
    with pytest.raises(UserError, match="come from other questions, not from sibling"):
        build({"methods": {"ig_search_shared": {"information_gain": {"pool_scope": "sibling"}}}})
