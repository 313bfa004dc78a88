"""The commands of docs/tutorial.md run, in order, as a reader types them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)


def test_every_command_of_the_tutorial_runs(tmp_path: Path) -> None:
    for name in ("params.yaml", "profiles"):
        source = PROJECT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    (tmp_path / "tutorial").mkdir()
    line = '{"prediction": "Eiffel Tower", "golden_answers": ["The Eiffel Tower."]}\n'
    (tmp_path / "tutorial/predictions.jsonl").write_text(line, encoding="utf-8")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    blocks = BLOCK.findall((PROJECT / "docs/tutorial.md").read_text(encoding="utf-8"))
    script = "set -euo pipefail\n" + "\n".join(blocks)
    run = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert "up to date" in run.stderr
    assert run.stdout.count("one contract: ") == 3
    assert "train-frugal_advantages-0: never made" in run.stderr
    assert '"em": 1.0' in run.stdout
