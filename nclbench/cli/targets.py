"""Which files a command will write. They are checked before the work, and are never what the command reads."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from nclbench.cli import config as configuration
from nclbench.cli.processes import follower
from nclbench.errors import UsageError
from nclbench.files import check_writable, is_stream, printable

TABLES = ("table.md", "table.tex")
IN_FOLDER = ("results.json", "queries.parquet", "items.parquet", *TABLES)
# of a folder with embeddings; a second run may write its results there again
_NEVER_READ = (".json", ".md", ".tex", "queries.parquet", "items.parquet")


def check(
    *,
    output: str | None = None,
    out_dir: str | None = None,
    saves: bool = False,
    inputs: Iterable[str | None] = (),
    mapping: Iterable[str] | None = None,
    config: str | None = None,
    specs: Iterable[str] = (),
) -> None:
    """Fails now rather than after the work. saves: `-o x.json` has Parquet files beside it."""
    named("-o", output)
    named("--out-dir", out_dir)
    files: list[Path] = []
    if output is not None:
        from nclbench.sinks import results

        files += results.beside(Path(output)) if saves else [Path(output)]
    if out_dir is not None:
        files += [Path(out_dir) / name for name in IN_FOLDER]
    for number, file in enumerate(files):
        writable(file)
        if saves and is_stream(file):
            raise UsageError(f"-o {printable(file)}: results cannot be saved into a pipe or a device; use --json")
        if any(file.resolve() == other.resolve() and not is_stream(file) for other in files[:number]):
            raise UsageError(f"{printable(file)}: -o and --out-dir would both write it; choose another name")
    check_read(files, inputs, mapping, config, specs)


def writable(path: Path) -> None:
    """Asked only by the process that will write: on another machine the same name may stand for another place."""
    if not follower():
        check_writable(path)


def apart(targets: Mapping[str, str | None]) -> None:
    """Refuses two options that would write one file."""
    given = [(option, Path(name).resolve()) for option, name in targets.items() if name and not is_stream(Path(name))]
    for at, (option, file) in enumerate(given):
        for other, same in given[:at]:
            if file == same:
                raise UsageError(f"{printable(file)}: {other} and {option} would both write it; choose another name")


def named(option: str, name: str | None) -> None:
    """A name that was given is not empty."""
    if name is not None and not name.strip():
        raise UsageError(f"{option} needs a name, and got an empty one")


def check_read(
    files: Iterable[Path],
    inputs: Iterable[str | None],
    mapping: Iterable[str] | None = None,
    config: str | None = None,
    specs: Iterable[str] = (),
) -> None:
    """Refuses to write over what is read. specs: of operators, which may name a file of biases."""
    read = [*_read(inputs, mapping, config), *_biases(specs)]
    for file in files:
        if file.is_file() and any(_same(file, each) for each in read):
            raise UsageError(f"{printable(file)}: that is an input, and would be written over; choose another name")


def beside(path: str) -> list[Path]:
    """The files that belong to saved results, the first of them included."""
    from nclbench.sinks import results

    folder = [Path(path).parent / name for name in IN_FOLDER[1:3]] if Path(path).name == IN_FOLDER[0] else []
    return [*results.beside(Path(path)), *folder]


def _read(inputs: Iterable[str | None], mapping: Iterable[str] | None, config: str | None) -> Iterable[Path]:
    """What is read, and what would be taken for it: `a.npy,b.npy` is two files or, if it exists, one."""
    for text in inputs:
        yield from (Path(part.strip()) for part in (text or "", *(text or "").split(",")) if part.strip())
    for text in mapping or ():
        source = text.partition("=")[2].partition("|")[0].strip()
        # FILE:KEY, where both may hold a colon
        yield from (Path(source[:at]) for at, letter in enumerate(f"{source}:") if letter == ":" and at)
    yield from configuration.sources(config)


def _biases(specs: Iterable[str]) -> Iterable[Path]:
    """The files of operators that are read from one."""
    for spec in specs:
        if "file=" in spec:
            from nclbench.operators import parse_chain
            from nclbench.operators.biases import Biases, beside

            _, operator = parse_chain(spec)
            yield from beside(operator.file) if isinstance(operator, Biases) else ()


def _same(file: Path, given: Path) -> bool:
    """Also for links, for parts of a folder that is read, and for the `*` of a mapping."""
    if "*" in given.name:
        return file.resolve() in {each.resolve() for each in given.parent.glob(given.name)}
    if given.is_dir():
        return not file.name.endswith(_NEVER_READ) and file.resolve().is_relative_to(given.resolve())
    return given.exists() and file.samefile(given)
