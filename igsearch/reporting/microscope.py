"""The page of `igsearch microscope`: one HTML file that shows what each token and each search of a run earned.

The file needs nothing beside it. Its content security policy allows one style sheet and one script, both by hash, and
no request at all. Data stand in it as JSON that cannot end its element, and the script shows them as text only.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from igsearch.errors import UserError
from igsearch.provenance import write_text
from igsearch.reporting.microscope_data import Row, Run, payload

_TEMPLATES = Path(__file__).with_name("templates")
_ESCAPES = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})


def page(about: Mapping[str, Any], rows: Sequence[Row], other: Run | None = None) -> str:
    """The page as one HTML text.

    about, rows: a run as the stage `examine` writes it, `about["evaluation"]` being its greedy answers by uid. other:
    another run, shown beside it question by question. UserError where there are no rollouts.
    """
    if not rows:
        raise UserError(f"there are no rollouts of {about['run']} to show; examine the run, or ask for other questions")
    data = payload((about, rows), other)
    style, script = _asset("microscope.css"), _asset("microscope_question.js") + _asset("microscope.js")
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("microscope.html.j2").render(
        **{key: data[key] for key in ("runs", "benchmarks")},
        style=Markup(style),
        script=Markup(script),
        policy=f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'",
        data=Markup(_json(data)),
    )


def write(path: Path, about: Mapping[str, Any], rows: Sequence[Row], other: Run | None = None) -> None:
    """Write `page` to a file, atomically."""
    write_text(path, page(about, rows, other))


def _asset(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """The source expression of a content security policy for an inline element (CSP level 2)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(value: Any) -> str:
    """JSON that can stand in a script element: `<`, `>` and `&` are written as escapes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).translate(_ESCAPES)
