"""The rows of bench/ are scripts that import each other by name, as they do where they are run."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
