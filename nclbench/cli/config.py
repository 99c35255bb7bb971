"""Defaults from config files: option > NCLBENCH_* > --config FILE > nclbench.toml or [tool.nclbench] > default.

In a file, the table of a command goes before the top level, and a top-level key may belong to any command.
"""

import tomllib
from pathlib import Path
from typing import Any

import typer

from nclbench.cli.said import WORDS_ALONE
from nclbench.errors import InputError, MissingError, UsageError, nearest
from nclbench.files import printable

# options that say how to start, and cannot be defaults
_NOT_HERE = {"help", "config", "debug", "version", "install-completion", "show-completion"}


def configure(context: typer.Context, path: str | None) -> str | None:
    """Fills the defaults of the command that is about to run."""
    if context.resilient_parsing or context.find_root().obj == WORDS_ALONE:
        return path
    if path == "":
        raise UsageError("--config needs the name of a file")
    defaults: dict[str, Any] = {}
    for file in reversed(sources(path)):
        defaults |= _defaults(context, file)
    context.default_map = {**(context.default_map or {}), **defaults}
    return path


def sources(path: str | None) -> list[Path]:
    """The config files that apply, the one that goes first first."""
    found = [Path(path)] if path else []
    project = Path("pyproject.toml")
    if Path("nclbench.toml").is_file():
        found.append(Path("nclbench.toml"))
    elif project.is_file() and "[tool.nclbench" in project.read_text(encoding="utf-8", errors="replace"):
        found.append(project)
    return found


def _defaults(context: typer.Context, file: Path) -> dict[str, Any]:
    """What one file says for this command, by the names of its parameters."""
    data = _read(file)
    root: Any = context.find_root().command
    tables = {name: _options(command) for name, command in root.commands.items()}
    mine = _own_name(context)
    own = tables[mine]
    anywhere = set().union(*tables.values())
    found: dict[str, Any] = {}
    for key, value in data.items():
        if key in tables:
            if not isinstance(value, dict):
                raise InputError(f"{file}: {key!r} must be a table, [{key}], not {_short(value)}")
        elif isinstance(value, dict):
            raise InputError(f"{file}: unknown table {_short(key)}{nearest(key, tables)}")
        elif key not in anywhere:
            raise InputError(f"{file}: unknown key {_short(key)}{nearest(key, anywhere)}")
        elif key in own:
            found[own[key].name] = _value(file, key, value, own[key])
    for key, value in data.get(mine, {}).items():
        if key not in own:
            raise InputError(f"{file}: unknown key {_short(key)} in [{mine}]{nearest(key, own)}")
        found[own[key].name] = _value(file, key, value, own[key])
    return found


def _read(file: Path) -> dict[str, Any]:
    try:
        data = tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise MissingError(f"{file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{file}: not valid TOML ({error})") from None
    if file.name != "pyproject.toml":
        return data
    tool = data.get("tool", {})
    ours = tool.get("nclbench", {}) if isinstance(tool, dict) else {}
    if not isinstance(ours, dict):
        raise InputError(f"{file}: 'nclbench' must be a table, [tool.nclbench], not {_short(ours)}")
    return ours


def _own_name(context: Any) -> str:
    """The command below `nclbench`, as `datasets` for `datasets show`."""
    while context.parent.parent is not None:
        context = context.parent
    return str(context.info_name)


def _options(command: Any) -> dict[str, Any]:
    """The options of a command, and of the commands below it, by their long names."""
    found = {
        name.removeprefix("--"): parameter
        for parameter in command.params
        for name in parameter.opts
        if name.startswith("--")
    }
    for below in getattr(command, "commands", {}).values():
        found |= _options(below)
    return {name: parameter for name, parameter in found.items() if name not in _NOT_HERE}


def _value(file: Path, key: str, value: Any, option: Any) -> Any:
    """As the option takes it; one text is as good as a list of one."""
    if option.multiple:
        values = value if isinstance(value, list) else [value]
        if all(isinstance(each, str) for each in values):
            return values
        raise InputError(f"{file}: {key!r} must be a text or a list of texts, not {_short(value)}")
    wanted = "true or false" if option.is_flag else "a text or a number"
    if isinstance(value, bool) != bool(option.is_flag) or not isinstance(value, bool | str | int | float):
        raise InputError(f"{file}: {key!r} must be {wanted}, not {_short(value)}")
    return value


def _short(value: Any) -> str:
    text = printable(repr(value))
    return text if len(text) <= 60 else f"{text[:59]}…"
