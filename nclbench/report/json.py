"""The results themselves as strict JSON, safe to print: what a terminal could act on is escaped."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nclbench.results import Results


def render(results: Results | Sequence[Results], more: Mapping[str, Any] | None = None) -> str:
    """One object in the schema of `results.json`, and `more` in it; several results are joined."""
    data = (results if isinstance(results, Results) else Results.joined(results)).to_json() | dict(more or {})
    text = json.dumps(data, allow_nan=False, ensure_ascii=False, indent=1, default=_plain)
    return safe(text) + "\n"


def safe(text: str) -> str:
    """JSON whose control and direction characters are escaped, so that a terminal cannot act on them."""
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return "\\u007f" if character == "\x7f" else json.dumps(character)[1:-1]


def _plain(value: Any) -> Any:
    """A numpy scalar as the number that it holds."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in results")
