"""What commands and stages import."""

import pytest
import startup


def test_no_help_imports_a_heavy_package() -> None:
    listed = startup.commands()
    assert {"train", "evaluate", "score", "config show"} <= set(listed)
    assert {name: startup.of_command(*name.split(), "--help")[0] for name in ("", *listed)} == {
        name: [] for name in ("", *listed)
    }


@pytest.mark.parametrize("stage", startup.USES)
def test_a_stage_imports_what_it_uses(stage: str) -> None:
    found, _ = startup.of_stage(stage)
    assert startup.unused(found, startup.USES[stage]) == []


def test_a_command_on_a_few_lines_imports_what_it_uses() -> None:
    for command, (found, _) in startup.at_work(("score", "world", "prepare", "index")).items():
        assert startup.unused(found, startup.COMMAND_USES[command]) == [], command
