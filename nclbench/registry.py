"""Names and specs: one word that says which operator with which parameters, and reads back to the same object.

A spec is `name` or `name:key=value,key=value`. Values are integers, floats, true/false, a bare word or a "quoted"
text. `show` leaves defaults out, and `parse(show(x)) == x`.
"""

import importlib
import json
import pkgutil
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from importlib import metadata
from typing import Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

from nclbench.errors import MissingError, UsageError, nearest

T = TypeVar("T")
C = TypeVar("C")
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_WORD = re.compile(r"[A-Za-z_./~-][A-Za-z0-9_./~-]*\Z")
_INTEGER = re.compile(r"[+-]?\d+\Z")
_PART = re.compile(r'\s*([A-Za-z_]\w*)\s*=\s*("(?:[^"\\]|\\.)*"|[^,"]*)\s*(?:,|\Z)')

Value = bool | int | float | str


class Registry(Generic[T]):
    """The classes of one kind, found by importing every module of one package the first time a name is asked for.

    package: where they live, so that adding one is adding a file; installed packages add theirs by an entry point of a
    group with that name. aliases: names accepted on input only.
    """

    def __init__(self, kind: str, package: str, aliases: Mapping[str, str] | None = None) -> None:
        self.kind, self.package, self.aliases = kind, package, dict(aliases or {})
        self._classes: dict[str, type[T]] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[type[C]], type[C]]:
        """Class decorator. The class is a frozen dataclass of its parameters; it gets `name`."""

        def keep(cls: type[C]) -> type[C]:
            if not _NAME.match(name) or name in self._classes or name in self.aliases:
                raise ValueError(f"{self.kind} {name!r} is taken, or is not a plain word")
            cls.name = name  # type: ignore[attr-defined]
            self._classes[name] = cls  # type: ignore[assignment]
            return cls

        return keep

    def names(self) -> list[str]:
        self._load()
        return sorted(self._classes)

    def get(self, name: str) -> type[T]:
        """The class of a name or alias; UsageError with the nearest match otherwise."""
        self._load()
        found = self._classes.get(self.aliases.get(name, name))
        if found is None:
            raise UsageError(f"unknown {self.kind} {name!r}{nearest(name, self._classes)}")
        return found

    def parse(self, spec: str) -> T:
        """`sinkhorn:tau=0.01` -> Sinkhorn(tau=0.01)."""
        name, colon, rest = (part.strip() for part in spec.partition(":"))
        cls = self.get(name)
        given = _parameters(rest, spec, self.kind) if colon else {}
        assert is_dataclass(cls)
        known = {field.name: field for field in fields(cls)}
        for key in given:
            if key not in known:
                raise UsageError(f"{self.kind} {name!r} has no parameter {key!r}{nearest(key, known)}")
        hints = get_type_hints(cls)
        values = {key: _typed(value, hints[key], f"{name}:{key}") for key, value in given.items()}
        missing = [key for key, field in known.items() if _required(field) and key not in values]
        if missing:
            raise UsageError(f"{self.kind} {name!r} needs {missing[0]}=…")
        return cls(**values)

    def _load(self) -> None:
        if not self._loaded:
            self._loaded = True
            package = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self.package}.{module.name}")
            for point in metadata.entry_points(group=self.package):
                try:
                    point.load()
                except Exception as error:
                    reason = f"{type(error).__name__}: {error}"
                    raise MissingError(f"{self.kind} {point.name!r} of {point.value} cannot be loaded ({reason})") from error


def show(thing: Any) -> str:
    """The shortest spec that parses back to `thing`."""
    given = [
        f"{field.name}={_text(getattr(thing, field.name))}"
        for field in fields(thing)
        if _required(field) or getattr(thing, field.name) != field.default
    ]
    return str(thing.name) + (":" + ",".join(given) if given else "")


def parameters(cls: type[Any]) -> dict[str, str]:
    """Parameter names of a registered class with their defaults as text, for `nclbench list`."""
    return {
        field.name: "required" if _required(field) else _text(field.default) if field.default is not None else "auto"
        for field in fields(cls)
    }


def _required(field: "Field[Any]") -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _parameters(text: str, spec: str, kind: str) -> dict[str, Value]:
    found: dict[str, Value] = {}
    position = 0
    while position < len(text) or not found:
        match = _PART.match(text, position)
        if match is None or not match[2].strip():
            raise UsageError(f"cannot read {kind} {spec!r} at {text[position:]!r}; write name:key=value,key=value")
        if match[1] in found:
            raise UsageError(f"{kind} {spec!r} gives {match[1]!r} twice")
        found[match[1]] = _value(match[2].strip(), spec, kind)
        position = match.end()
    if text.rstrip().endswith(","):
        raise UsageError(f"cannot read {kind} {spec!r}: it ends with a comma")
    return found


def _value(text: str, spec: str, kind: str) -> Value:
    if text in ("true", "false"):
        return text == "true"
    if text.startswith('"'):
        try:
            return str(json.loads(text))
        except ValueError:
            raise UsageError(f"cannot read {text!r} in {kind} {spec!r}; write a text as \"…\"") from None
    try:
        number = float(text)
    except ValueError:
        if _WORD.match(text):
            return text
        hint = "a grid is for `nclbench sweep`" if "|" in text or ".." in text else 'quote it as "…"'
        raise UsageError(f"cannot read {text!r} in {kind} {spec!r}; {hint}") from None
    if number != number or number in (float("inf"), float("-inf")):
        raise UsageError(f"{text} in {kind} {spec!r} is not a finite number")
    return int(text) if _INTEGER.match(text) else number


_KINDS: dict[Any, str] = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}


def _typed(value: Value, hint: Any, where: str) -> Value:
    allowed = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if type(value) in allowed:
        return value
    if float in allowed and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if int in allowed and isinstance(value, float) and value.is_integer():
        return int(value)
    wanted = " or ".join(_KINDS.get(kind, kind.__name__) for kind in allowed if kind is not type(None))
    raise UsageError(f"{where} is {_text(value)}; it must be {wanted}")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        plain = _WORD.match(value) and value not in ("true", "false", "nan", "inf", "infinity", "-inf", "-nan")
        return value if plain and not _is_number(value) else json.dumps(value)
    return repr(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
