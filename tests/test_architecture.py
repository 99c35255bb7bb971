"""The drawing of the house holds: imports go strictly down, and some words stand in one room only."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import nclbench

HOUSE = Path(nclbench.__file__).parent
FLOORS = {
    "0": "errors compiled/",
    "0b": "registry files grids tokens",
    "0c": "machine/ archives",
    "1": "plan",
    "2": "problem results reported temperature",
    "2b": "fusion folds leaks ragged",
    "3": "scorers/",
    "3b": "similarity/",
    "3c": "ranking/",
    "3d": "sinkhorn/",
    "4": "operators/",
    "5": "fitting plausible",
    "5b": "modality",
    "5c": "representation",
    "5c+": "rivals",
    "6": "metrics/ protocols significance stamps diagnostics/",
    "6b": "diagnosis",
    "6c": "instances comparison/ runs",
    "7": "evaluation deploy gate/",
    "8": "report/ sources/ sinks/ models/ media/",
    "8b": "sweep/ bench/ audit/ embedding/",
    "9": "cli/",
    "10": "__init__ __main__",
}
# rooms that have floors of their own
WITHIN = {
    "machine": ("blas graphs epilogues host memory processes wide", "threads together", "machines"),
    "similarity": (
        "alike grid groups halves looks maps reducers",
        "bases fused interfaces",
        "view keeping remembered",
        "compounds",
        "pairs",
        "views",
    ),
    "ranking": ("counting", "both choosing outranking unwritten", "leaders", "ranks"),
    "sinkhorn": (
        "strips anderson precision tasks",
        "entries passes",
        "kernel",
        "placed",
        "looks",
        "iterates",
        "balance",
        "potentials",
    ),
}
LEVEL = {room.rstrip("/"): number for number, names in enumerate(FLOORS.values()) for room in names.split()}
ROOMS = {room.rstrip("/") for names in FLOORS.values() for room in names.split() if room.endswith("/")}
FILES = sorted(HOUSE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
# path -> why it may be longer than LONGEST lines
LONGEST = 250
LONGER: dict[str, str] = {
    "problem.py": "one type and the refusals of every way in which it can be wrong",
}
DTYPES = {
    "half", "bfloat16", "float", "float16", "float32", "float64", "double", "int", "int8", "int16", "int32", "int64",
    "short", "long", "uint8", "bool", "complex64",
}  # fmt: skip
PLACED = {"cuda", "distributed", "mps"} | DTYPES


def place(path: Path) -> tuple[str, str]:
    """The room (or file at the top) and the dotted name of a file."""
    parts = path.relative_to(HOUSE).with_suffix("").parts
    return parts[0], ".".join(["nclbench", *parts])


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of all that a file imports, wherever the statement stands."""
    package = ["nclbench", *path.relative_to(HOUSE).parent.parts]
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from ((node.lineno, str(part.value)) for part in node.args[:1] if isinstance(part, ast.Constant))


def room_of(name: str) -> str | None:
    """`nclbench.scorers.dot.Cosine` -> scorers; None for what is not ours, `__init__` for names of the package."""
    parts = name.split(".")
    if parts[0] != "nclbench":
        return None
    known = len(parts) > 1 and ((HOUSE / parts[1]).is_dir() or (HOUSE / f"{parts[1]}.py").is_file())
    return parts[1] if known else "__init__"


def wrong_steps(path: Path) -> list[str]:
    """Imports of a file that do not go down."""
    mine, _ = place(path)
    found = []
    for line, name in imported(path):
        other = room_of(name)
        if other is None or name == "nclbench.__version__":
            continue
        if other == mine and mine in ROOMS:
            if mine in WITHIN and not lower(mine, name, path.stem):
                found.append(f"{path.relative_to(HOUSE)}:{line} imports {name}")
            continue
        if other not in LEVEL or LEVEL[other] >= LEVEL.get(mine, -1):
            found.append(f"{path.relative_to(HOUSE)}:{line} imports {name}")
    return found


def lower(room: str, name: str, mine: str) -> bool:
    """Whether what is imported from the same room lies on a lower floor of it than the file."""
    level = {file: number for number, names in enumerate(WITHIN[room]) for file in names.split()}
    return level.get(f"{name}..".split(".")[2], 99) < level.get(mine, -1)


def test_every_file_has_a_floor() -> None:
    assert {place(path)[0] for path in FILES} - LEVEL.keys() == set()
    for room, floors in WITHIN.items():
        assert {path.stem for path in (HOUSE / room).glob("*.py")} == {"__init__", *" ".join(floors).split()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_imports_go_strictly_down(path: Path) -> None:
    assert wrong_steps(path) == []


def test_tests_and_benchmarks_import_what_there_is() -> None:
    """mypy reads the package alone, and some of these run where a GPU or a peer is."""
    known = {place(path)[1].removesuffix(".__init__"): TREES[path] for path in FILES}
    folders = (HOUSE.parent / "tests", HOUSE.parent / "benchmarks")
    missing = []
    for path in [path for folder in folders for path in sorted(folder.glob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "nclbench":
                room = import_module(str(node.module))
                names = [alias.name for alias in node.names if f"{node.module}.{alias.name}" not in known]
                missing += [f"{path.name}: {node.module}.{name}" for name in names if not hasattr(room, name)]
    assert missing == []


def test_the_check_sees_a_wrong_step(monkeypatch: pytest.MonkeyPatch) -> None:
    for where, line, wrong in (
        ("similarity/bases.py", "from nclbench.sinkhorn.kernel import Kernel", True),
        ("similarity/bases.py", "from nclbench import ranking", True),
        ("similarity/bases.py", "from ..ranking.ranks import rank", True),
        ("plan.py", "def f():\n    import nclbench.problem", True),
        ("registry.py", "import importlib\nimportlib.import_module('nclbench.files')", True),
        ("scorers/dot.py", "from ..ranking.ranks import rank", True),
        ("evaluation.py", "from nclbench import evaluate", True),
        ("scorers/dot.py", "from . import scorers", False),
        ("similarity/keeping.py", "from nclbench.similarity.bases import Embedded", False),
        ("similarity/bases.py", "from nclbench.similarity.keeping import Kept", True),
        ("similarity/bases.py", "from nclbench.similarity import view", True),
        ("evaluation.py", "from nclbench import __version__, ranking", False),
        ("cli/eval.py", "from nclbench.evaluation import evaluate\nimport torch", False),
    ):
        monkeypatch.setitem(TREES, HOUSE / where, ast.parse(line))
        assert bool(wrong_steps(HOUSE / where)) == wrong, (where, line)


# ------------------------------------------------------------------------------------------- words and their rooms


def outside(names: tuple[str, ...], *rooms: str) -> list[str]:
    """Imports of these packages anywhere but in the given files or rooms."""
    return [
        f"{path.relative_to(HOUSE)}:{line} imports {name}"
        for path in FILES
        if not str(path.relative_to(HOUSE)).startswith(rooms)
        for line, name in imported(path)
        if name.startswith(tuple(f"{each}." for each in names)) or name in names
    ]


def test_typer_and_rich_live_in_the_command_line_only() -> None:
    assert outside(("typer", "rich", "click"), "cli/") == []
    assert outside(("typer", "rich", "click")) != []


def named_devices(tree: ast.AST) -> list[str]:
    """torch.cuda, torch.distributed, .cuda(...) and torch dtypes, as they are written."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "torch" and node.attr in PLACED:
            found.append(f"{node.lineno}: torch.{node.attr}")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("cuda", "mps"):
            found.append(f"{node.lineno}: .{node.func.attr}()")
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "torch":
            named = [alias.name for alias in node.names if alias.name in PLACED]
            found += [f"{node.lineno}: from {node.module} import {name}" for name in named]
            found += [f"{node.lineno}: {node.module}"] * (node.module in ("torch.cuda", "torch.distributed"))
        if isinstance(node, ast.Import):
            found += [f"{node.lineno}: {a.name}" for a in node.names if a.name.startswith(("torch.cuda", "torch.dist"))]
    return found


def test_devices_dtypes_and_processes_are_named_in_the_plan_alone() -> None:
    may = {"plan.py", "machine/processes.py", "machine/graphs.py", "sources/torch_file.py", "sources/safetensors.py"}
    found = {str(path.relative_to(HOUSE)): named_devices(tree) for path, tree in TREES.items()}
    assert {name: said for name, said in found.items() if said and name not in may} == {}
    assert found["plan.py"]
    for line in ("x.to(torch.float64)", "torch.cuda.synchronize()", "x.cuda()", "from torch import float32 as f"):
        assert named_devices(ast.parse(line)), line


def dangers(tree: ast.AST) -> list[str]:
    """Everything that could run code from a file."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            loaders = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
            found += [name for name in names if name.partition(".")[0] in loaders]
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("eval", "exec", "compile", "builtins.eval", "builtins.exec", "os.system", "os.popen"):
                found.append(called)
            if called.startswith("yaml.") and "safe" not in called:
                found.append(called)
            if called.endswith("read_pickle"):
                found.append(called)
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            found += [f"{k}={v}" for k, v in given.items() if (k, v != "False") == ("allow_pickle", True)]
            found += [f"{k}={v}" for k, v in given.items() if (k, v != "True") == ("weights_only", True)]
            found += [f"{k}={v}" for k, v in given.items() if (k, v != "False") == ("shell", True)]
            if called == "torch.load" and given.get("weights_only") != "True":
                found.append("torch.load without weights_only=True")
    return found


def test_nothing_runs_code_from_a_file() -> None:
    found = {str(path.relative_to(HOUSE)): dangers(tree) for path, tree in TREES.items()}
    assert {name: said for name, said in found.items() if said} == {}
    for line in (
        "import pickle", "from pickle import loads", "eval(x)", "exec(x)", "yaml.load(x)", "np.load(x, allow_pickle=True)",
        "np.load(x, allow_pickle=flag)", "torch.load(x)", "torch.load(x, weights_only=False)", "run(x, shell=True)",
    ):  # fmt: skip
        assert dangers(ast.parse(line)), line
    for line in ("model.eval()", "np.load(x, allow_pickle=False)", "torch.load(x, weights_only=True)", "re.compile(x)"):
        assert not dangers(ast.parse(line)), line


def test_no_file_is_two_ideas() -> None:
    lengths = {
        str(path.relative_to(HOUSE)): len(path.read_text(encoding="utf-8").splitlines())
        for path in FILES
        if place(path)[0] != "cli"
    }
    long = {name: length for name, length in lengths.items() if length > LONGEST}
    assert long.keys() - LONGER.keys() == set(), long
    assert LONGER.keys() - long.keys() == set(), "no longer an exception"


def test_there_is_no_room_without_a_name() -> None:
    assert [path.name for path in FILES if path.stem in ("utils", "util", "helpers", "misc", "common")] == []


# ------------------------------------------------------------------------------------------------- what is loaded

HEAVY = ("torch", "pandas", "scipy.stats", "scipy", "pyarrow", "h5py")


def loaded_by(code: str) -> dict[str, Any]:
    tail = "\nimport sys\nprint([name for name in sys.argv[1:] if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code + tail, *HEAVY], capture_output=True, text=True, check=False, timeout=6000
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = ast.literal_eval(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("code", ["import nclbench", "import nclbench.cli", "import nclbench; nclbench.__version__"])
def test_importing_the_package_loads_nothing_heavy(code: str) -> None:
    assert loaded_by(code) == []


def test_the_check_sees_what_is_loaded() -> None:
    assert "torch" in loaded_by("import nclbench; nclbench.evaluate")


def test_no_files_import_each_other_in_a_circle() -> None:
    """Within a room, too, and wherever the statement stands; what only types need does not count, nor the face of a room."""
    names = {place(path)[1]: path for path in FILES if path.stem != "__init__"}
    graph: dict[str, set[str]] = {}
    for name, path in names.items():
        typed = {
            inner.lineno
            for node in ast.walk(TREES[path])
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in ast.walk(node)
            if isinstance(inner, ast.Import | ast.ImportFrom)
        }
        found = {other for line, other in imported(path) if line not in typed}
        known = {other if other in names else other.rpartition(".")[0] for other in found}
        graph[name] = known & names.keys() - {name}
    TopologicalSorter(graph).prepare()
