"""`nclbench gate`: whether saved results may pass, by exit code and in the words of continuous integration."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nclbench.cli import options, output, saved, targets
from nclbench.errors import InputError, UsageError, nearest
from nclbench.files import check_writable

if TYPE_CHECKING:
    from nclbench.gate import Verdict


def _option(*names: str, **more: Any) -> Any:
    return typer.Option(*names, show_envvar=False, **more)


def gate(
    results: Annotated[str, typer.Argument(metavar="RESULTS", help="A results.json file.", show_default=False)],
    threshold: Annotated[
        list[str] | None, _option("--threshold", metavar="RULE", help="What must hold, e.g. t2v.R@1>=45; repeat.")
    ] = None,
    baseline: Annotated[str | None, _option("--baseline", metavar="FILE", help="Results to be as good as.")] = None,
    max_regression: Annotated[
        list[str] | None,
        _option("--max-regression", metavar="RULE", help="How much worse it may get, e.g. t2v.R@1=0.5; repeat."),
    ] = None,
    significant_only: Annotated[
        bool, _option("--significant-only", help="A regression within the noise warns and does not fail.")
    ] = False,
    golden: Annotated[
        str | None, _option("--golden", metavar="FILE", help="Ids or captions of queries, a line each, that must stay on top.")
    ] = None,
    golden_top: Annotated[int, _option("--golden-top", min=1, help="How near the top.")] = 5,
    on_missing: Annotated[
        str, _option("--on-missing", metavar="RULE", help="Runs and queries that came or went: fail, warn or ignore.")
    ] = "fail",
    spec: Annotated[
        list[str] | None, _option("--spec", metavar="SPEC", help="Look at runs of this operator alone; repeat.")
    ] = None,
    junit: Annotated[str | None, _option("--junit", metavar="FILE", help="Write JUnit XML.")] = None,
    explain: Annotated[bool, _option("--explain", help="Say of every check what decided it.")] = False,
    accept: Annotated[bool, _option("--accept", help="Make these results the baseline, whatever the verdict.")] = False,
    format: options.Format = None,
    json: options.Json = False,
    out: options.Written = None,
    seed: options.Seed = 0,
    config: options.Config = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Pass or fail saved results; exit code 1 means fail.

    nclbench gate pr.json --baseline main.json --max-regression t2v.R@1=0.5 --significant-only
    """
    saved.one_thread()
    chosen = output.choose_format(format, json, out)
    from nclbench.gate import ON_MISSING, rules
    from nclbench.gate.checks import judge

    if on_missing not in ON_MISSING:
        raise UsageError(f"unknown --on-missing {on_missing!r}{nearest(on_missing, ON_MISSING)}")
    if accept and baseline is None:
        raise UsageError("--accept needs --baseline FILE, which it writes")
    if accept and Path(results).resolve() == Path(str(baseline)).resolve():
        raise UsageError("--accept: the results are the baseline already")
    thresholds = [rules.threshold(text) for text in threshold or ()]
    limits = [rules.regression(text) for text in max_regression or ()]
    paths = [results, *([baseline] if baseline is not None else [])]
    read = [str(file) for path in paths for file in targets.beside(path)]
    for target in (out, junit):
        targets.check(output=target, inputs=[*read, golden], config=config)
    targets.apart({"-o": out, "--junit": junit})
    output.check_ending(out, format, json)
    if accept:
        for file in targets.beside(str(baseline))[:3]:
            check_writable(file)
    first = accept and baseline is not None and not Path(baseline).exists()
    verdict = None
    if thresholds or golden or (limits and not first) or not accept:
        verdict = judge(
            _read(results, bool(golden)),
            None if baseline is None or first else _read(baseline, significant_only),
            thresholds=thresholds,
            limits=[] if first else limits,
            significant_only=significant_only,
            golden=_lines(golden),
            top=golden_top,
            on_missing=on_missing,
            specs=spec or (),
            seed=seed,
        )
    if verdict is not None:
        _tell(verdict, chosen, out, junit, explain, quiet)
    if accept and baseline is not None:
        accepted = saved.read([results], rows=all(file.exists() for file in _tables(results)))[0]
        _accept(accepted.name, baseline, quiet)
    elif verdict is not None and not verdict.passed:
        raise typer.Exit(1)


def _read(path: str, needed: bool) -> Any:
    """With its rows where they are there; a MissingError where they are needed and are not."""
    return saved.read([path], rows=needed or all(file.exists() for file in _tables(path)))[0]


def _tables(path: str) -> "tuple[Path, Path]":
    from nclbench.sinks.rows import beside

    return beside(Path(path))


def _lines(path: str | None) -> list[str]:
    """The golden queries; blank lines and those that begin with # are none."""
    if path is None:
        return []
    from nclbench.files import regular

    try:
        lines = regular(Path(path)).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8; write one id or caption a line") from None
    found = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not found:
        raise InputError(f"{path}: no golden query; write one id or caption a line")
    return list(dict.fromkeys(found))


def _tell(
    verdict: "Verdict", chosen: str, out: str | None, junit: str | None, explain: bool, quiet: bool
) -> None:
    """To stdout or a file; and where continuous integration asks for it."""
    from nclbench.files import printable, write_text
    from nclbench.report import gate as report

    if chosen == "table":
        from nclbench.cli.terminal import plain, show, stdout_console

        text = plain(report.table(verdict))
    else:
        text = report.render(verdict, chosen)
    for target, content in ((junit, report.junit(verdict) if junit else ""), (out, text)):
        if target is not None:
            write_text(Path(target), content)
            if not quiet:
                typer.echo(f"wrote {printable(target)}", err=True)
    for variable, content in (
        ("GITHUB_STEP_SUMMARY", report.render(verdict, "md")),
        ("GITHUB_OUTPUT", report.outputs(verdict)),
    ):
        if os.environ.get(variable):
            _append(variable, content)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in report.annotations(verdict):
            typer.echo(line, err=True)
    for line in report.explained(verdict) if explain else ():
        typer.echo(line, err=True)
    if out is not None:
        return
    if chosen == "table":
        show(report.table(verdict), stdout_console())
    else:
        output.put(text, json=chosen == "json")


def _append(variable: str, content: str) -> None:
    from nclbench.errors import MissingError

    path = os.environ[variable]
    try:
        with open(path, "a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(content)
    except OSError as error:
        raise MissingError(f"{variable}: {path}: {error.strerror}") from None


def _accept(results: str, baseline: str, quiet: bool) -> None:
    """Copies the results and their rows, the results file last. Old rows never stay beside other results: where the new
    ones have none, they go.
    """
    from contextlib import ExitStack

    from nclbench.files import printable, replacing

    pairs = [*zip(_tables(results), _tables(baseline), strict=True), (Path(results), Path(baseline))]
    with ExitStack() as stack:  # all are copied before the first is replaced, and the last one entered is the first to be
        for source, target in reversed(pairs):
            if source.exists():
                stack.enter_context(replacing(target)).write_bytes(source.read_bytes())
    for source, target in pairs:
        if not source.exists():
            target.unlink(missing_ok=True)
    if not quiet:
        typer.echo(f"accepted: {printable(baseline)} is now what {printable(results)} says", err=True)
