"""Each process of a run reads its own rows of the files, all get the problem that one would; what fails in one fails in all."""

import errno
import json
import os
import resource
import sys
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import factories
import h5py
import launching
import numpy as np
import pytest
import torch
import torch.distributed as dist
from factories import KEPT, LAWFUL, STREAMED
from launching import LIMIT, ended, launched
from test_sources import flat, named, vectors, write_h5, write_npz, write_safetensors
from test_tokens import with_tokens

from nclbench.cli.failures import explained
from nclbench.cli.hubness_report import _places
from nclbench.errors import InputError, MissingError, NclbenchError
from nclbench.machine import host, machines, processes, together
from nclbench.plan import Plan
from nclbench.problem import Problem
from nclbench.similarity import view as similarity
from nclbench.similarity.bases import Embedded
from nclbench.similarity.pairs import Bases
from nclbench.similarity.view import View
from nclbench.sinkhorn import kernel, potentials, strips
from nclbench.sinks import save
from nclbench.sources import hdf5, load

# what must be refused, whichever process has the first bad row
BAD: dict[str, Any] = {"bad": "bad.npy", "worse": "worse.npy", "zero": ["zero.npy", "zero.npy"]}
# what `load` is given; for files of tables (rows, bytes a row) of each, and the bytes of other arrays
Case = tuple[dict[str, Any], list[tuple[int, int]] | None, int]


def cases(folder: Path) -> dict[str, Case]:
    """Files of every container and what is read of them."""
    write_h5(flat(7, 3), folder / "plain.h5")
    with h5py.File(folder / "packed.h5", "w") as file:
        for key, values in flat(11, 4).items():
            much = {"compression": "gzip", "shuffle": True, "chunks": (2, 5)} if values.ndim == 2 else {}
            file.create_dataset(key, data=values.astype(np.float64) if values.ndim == 2 else values, **much)
    write_h5(with_tokens(), folder / "tokens.h5")
    write_safetensors(named(), folder / "named.safetensors")
    write_npz(named(), folder / "named.npz")
    for name, problem in (("banks.safetensors", "tokens-banks"), ("folder.parquet", "banks")):
        save(LAWFUL[problem](), folder / name)
    save(factories.of_scores(vectors(8, 3, 8)), folder / "scores.h5")
    np.save(folder / "text.npy", vectors(7, 1).astype(">f8"))
    np.save(folder / "video.npy", vectors(7, 2).astype(np.float16))
    np.save(folder / "columns.npy", np.asfortranarray(vectors(7, 3)))
    np.save(folder / "square.npy", vectors(5, 4))
    np.save(folder / "one.npy", vectors(1, 4))
    np.save(folder / "turned.npy", vectors(5, 5, 7))
    np.save(folder / "twice.npy", vectors(7, 6).repeat(2, axis=0))
    np.save(folder / "frames.npy", np.stack([vectors(7, seed) for seed in (7, 8, 9)]))
    for number, rows in enumerate((4, 1, 2)):
        np.save(folder / f"part_{number}.npy", vectors(rows, number))
    for name, rows in (("texts", 6), ("videos", 3)):
        (folder / name).mkdir()
        vectors(rows, rows).tofile(folder / name / "feature.bin")
        (folder / name / "shape.txt").write_text(f"{rows} 5")
        words = [f"v{row % 3}#{row}" if name == "texts" else f"v{row}" for row in range(rows)]
        (folder / name / "id.txt").write_text(" ".join(words))
    (folder / "said.txt").write_text("".join(f"a sentence {row}\n" for row in range(7)))

    def mapped(text: str) -> dict[str, str]:
        return {"test.text.embeddings": text, "test.video.embeddings": "video.npy"}

    video = (7, 10)
    return {
        "hdf5": ({"emb": "plain.h5"}, [(7, 20), (3, 20)], 0),
        "hdf5 with a bank and captions": ({"emb": "plain.h5", "bank": "text.npy", "captions": "said.txt"}, None, 0),
        "hdf5, packed": ({"emb": "packed.h5"}, [(11, 40), (4, 40)], 0),
        "hdf5 of tokens": ({"emb": "tokens.h5"}, None, 0),
        "hdf5 of scores": ({"emb": "scores.h5"}, None, 0),
        "safetensors": ({"emb": "named.safetensors"}, [(6, 20), (3, 20), (4, 20), (2, 20)], 0),
        "safetensors of tokens": ({"emb": "banks.safetensors"}, None, 0),
        "npz": ({"emb": "named.npz"}, [], 0),
        "parquet": ({"emb": "folder.parquet"}, None, 0),
        "npy": ({"emb": ["text.npy", "video.npy"]}, [(7, 40), video], 0),
        "npy by columns": ({"emb": ["text.npy", "columns.npy"]}, [(7, 40)], 7 * 20),
        "a matrix": ({"emb": "square.npy"}, [(5, 20)], 0),
        "fewer rows than processes": ({"emb": ["one.npy", "one.npy"]}, [(1, 20)], 0),
        "bigfile": ({"emb": ["texts", "videos"], "no_labels": True}, [(6, 20), (3, 20)], 0),
        "transposed": ({"mapping": mapped("turned.npy|T")}, [(5, 28), video], 0),
        "unrepeated": ({"mapping": mapped("twice.npy|unrepeat=2|l2")}, [(14, 20), video], 0),
        "a mean": ({"mapping": mapped("frames.npy|mean(axis=0)")}, [(3, 140), video], 0),
        "parts": ({"mapping": mapped("part_*.npy|l2")}, [(4, 20), (1, 20), (2, 20), video], 0),
    }


def digest(problem: Problem) -> str:
    """Of all that a problem says, with its fingerprints, to the bit."""
    found = sha256()
    for name, values in factories.arrays(problem):
        found.update(f"{name} {values.shape} {values.dtype}".encode())
        found.update(np.ascontiguousarray(values).tobytes())
    sides = [(side.ids, side.captions) for role in factories.ROLES if (side := problem.role(role)) is not None]
    found.update(repr((sides, problem.inputs, problem.notes, problem.scorer, problem.logit_scale, problem.model)).encode())
    return found.hexdigest()


def spied() -> list[int]:
    """Bytes of tables as they are taken from files, and from the process that reads HDF5."""
    taken: list[int] = []
    plain, fill = np.fromfile, hdf5._fill

    def fromfile(file: Any, dtype: Any = float, count: int = -1, **more: Any) -> Any:
        found = plain(file, dtype=dtype, count=count, **more)
        taken.append(found.nbytes)
        return found

    def filled(stream: Any, array: Any) -> None:
        fill(stream, array)
        taken.extend([array.nbytes] if array.ndim > 1 else [])

    np.fromfile, hdf5._fill = fromfile, filled
    return taken


def join(rank: int, world: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world, timeout=timedelta(seconds=LIMIT)
    )


def read_all(rank: int, folder: Path) -> dict[str, Any]:
    """What this process gets of every case, and how many bytes it took for it."""
    os.chdir(folder)
    taken, found = spied(), {}
    given: dict[str, dict[str, Any]] = json.loads(Path("cases.json").read_text())
    for name, how in given.items():
        taken.clear()
        found[name] = [digest(load(**how, together=True)), sum(taken)]
    for name, emb in BAD.items():
        try:
            load(emb, together=True)
        except InputError as error:
            found[name] = [str(error), error.everywhere]
    return found


def one_copy(rank: int) -> dict[str, Any]:
    """Who shares memory with whom, what becomes of a change, and how much of a table the system counts for two."""
    met = machines.Machines.met()
    rows = together.share(4096)
    before = counted("/proc/self/smaps_rollup")
    table = met.table(np.full((rows.stop - rows.start, 2048), 7, np.float32), 4096)
    total = float(table.sum(dtype=np.float64))
    processes.exchange(b"seen")
    after = counted("/proc/self/smaps_rollup")
    found: dict[str, Any] = {"heads": met.heads}
    if before and total == 7 * table.size:
        # of what two share, each is said to have half
        lent = [int(each["Rss"].split()[0]) - int(each["Pss"].split()[0]) for each in (before, after)]
        found["shared"] = (lent[1] - lent[0]) * 1024 / table.nbytes
    if rank == 0:
        table[0] = 0
    processes.exchange(b"changed")
    return found | {"changed": [float(table[0, 0]), float(table[-1, 0])]}


def counted(place: str) -> dict[str, str]:
    """What the system says of this process; nothing where it says nothing."""
    lines = Path(place).read_text().splitlines() if Path(place).exists() else []
    return dict(line.split(":", 1) for line in lines if ":" in line)


@pytest.mark.parametrize(("world", "where"), [(2, "near"), (3, "far")])
def test_each_process_reads_its_own_rows_and_gets_the_whole_problem(
    world: int, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """far: the last process is on another machine, as far as it can tell."""
    made = cases(tmp_path)
    (tmp_path / "cases.json").write_text(json.dumps({name: how for name, (how, _, _) in made.items()}))
    for name, rows, value in (("bad", [8], np.nan), ("worse", [2, 7], np.nan), ("zero", [5, 8], 0)):
        scores = vectors(9, 0, 9)
        scores[rows] = value
        np.save(tmp_path / f"{name}.npy", scores)
    launching.run(__file__, world, tmp_path, where)
    found = [json.loads((tmp_path / f"found.{rank}").read_text()) for rank in range(world)]
    monkeypatch.chdir(tmp_path)
    for name, (how, tables, lists) in made.items():
        alone = digest(load(**how))
        for rank, mine in enumerate(found):
            assert mine[name][0] == alone, (name, rank)
            if tables is not None:
                own = sum(((rank + 1) * rows // world - rank * rows // world) * width for rows, width in tables)
                assert mine[name][1] == own + lists, (name, rank)
        if tables is not None:
            assert sum(mine[name][1] for mine in found) == sum(rows * width for rows, width in tables) + world * lists
    for rank, mine in enumerate(found):
        assert mine["heads"] == ([0, 0] if where == "near" else [0, 0, 2])
        assert mine["changed"] == [0.0 if rank == 0 else 7.0, 7.0]
        if "shared" in mine and where == "near":
            assert mine["shared"] > 0.4
        assert mine["bad"] == ["bad.npy: row 8 holds NaN; remove or recompute it", True]
        assert mine["worse"] == ["worse.npy: row 2 holds NaN; remove or recompute it", True]
        assert mine["zero"][0].startswith("zero.npy: row 5 is all zeros (2 such rows; never written?)")


# what ends one process: the kind that all raise, the code, and what the line says
ENDINGS: dict[str, tuple[Exception, type[NclbenchError], int, str]] = {
    "disk": (OSError(errno.EIO, "Input/output error", "a.h5"), MissingError, 4, "a.h5: Input/output error"),
    "nameless": (OSError(errno.EMFILE, "Too many open files"), MissingError, 4, "the input: Too many open files"),
    "memory": (MemoryError(), MissingError, 4, "the input: out of memory; give a smaller problem"),
    "bug": (KeyError("x"), NclbenchError, 70, "the input: KeyError: 'x'; this is a bug in nclbench, --debug shows where"),
}


def hindered(rank: int, world: int) -> dict[str, Any]:
    """Errors of one process in an agreement; tables where who reaches whom is at odds, and where memory cannot be shared."""
    found: dict[str, Any] = {}
    for name, (error, _, _, _) in ENDINGS.items():
        try:
            with together.agreed("the input"):
                if rank == 1:
                    raise error
        except NclbenchError as told:
            found[name] = [type(told).__name__, str(told), told.everywhere]

    def filled() -> list[float]:
        """Rows that say who made them, and the first of them after a change that only this process may see."""
        rows = together.share(7)
        table = met.table(np.full((rows.stop - rows.start, 4096), rank, np.float32), 7)
        processes.exchange(b"got")
        table[0, 0] += 10 * rank
        processes.exchange(b"changed")
        return [*table[:, 1].tolist(), float(table[0, 0])]

    numbers, plain = processes.exchange(machines._number(os.getpid())), machines._reaches

    def odd(mine: bytes, theirs: bytes) -> bool:
        places = slice(machines._WORD, machines._WORD + machines._NUMBER)
        return (numbers.index(mine[places]), numbers.index(theirs[places])) in {(1, 0), (2, 1)}

    machines._reaches = odd
    met = machines.Machines.met()
    found["odd"] = [met.heads, filled()]
    machines._reaches = plain
    met = machines.Machines.met()
    found["plain"] = [met.heads, filled()]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if rank == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    found["limited"] = [met.heads, filled()]
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    if rank == 2:
        machines._path = lambda known: "/nowhere"
    found["unreached"] = [met.heads, filled()]
    return found


def test_what_fails_in_one_process_is_told_or_done_in_another_way(tmp_path: Path) -> None:
    launching.run(__file__, 3, tmp_path, "hindered")
    for rank in range(3):
        found = json.loads((tmp_path / f"found.{rank}").read_text())
        for name, (_, kind, code, said) in ENDINGS.items():
            assert found[name] == [kind.__name__, said, True] and kind.exit_code == code
        rows = [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 2.0]
        assert found["odd"] == [[0, 1, 2], [*rows, 10.0 * rank]]
        for name in ("plain", "limited", "unreached"):
            assert found[name] == [[0, 0, 0], [*rows, 10.0 * rank]], name


def test_only_what_is_printed_fails_at_stdout() -> None:
    with pytest.raises(OSError) as error:  # noqa: PT011
        os.close(-1)
    assert explained(error.value) == (4, "error: Bad file descriptor")


def test_together_is_alone_where_there_is_one_process(tmp_path: Path) -> None:
    path = write_h5(flat(7, 3), tmp_path / "a.h5")
    assert digest(load(path, together=True)) == digest(load(path))


def test_hdf5_is_not_read_beyond_the_rows_that_are_asked_for(tmp_path: Path) -> None:
    """By what the kernel counts for the process that reads, with the modules that it imports."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.zeros((4000, 4000), np.float32)
    raw = hdf5.open_file(tmp_path / "a.h5")
    assert raw.cut is not None

    def bytes_read(rows: slice | None) -> int:
        """By this process and those that it waited for."""
        before = int(counted("/proc/self/io")["rchar"])
        assert raw.cut is not None and raw.cut({"x": rows})["x"].shape == (4000 if rows is None else 40, 4000)
        return int(counted("/proc/self/io")["rchar"]) - before

    if not counted("/proc/self/io"):
        pytest.skip("this system does not count what a process reads")
    whole, few = bytes_read(None), bytes_read(slice(3960, 4000))
    # the bytes are counted twice: from the file, and from the pipe
    assert 2 * 0.98 * 64e6 < whole - few < 2 * 64e6, (whole, few)


# ---------------------------------------------------------------------------------------------- the command line


def broken(path: Path) -> None:
    """One bit of a chunk with a checksum."""
    with h5py.File(path, "r") as file:
        chunk = file["text_embeddings"].id.get_chunk_info(7)
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset + 5] ^= 1
    path.write_bytes(data)


def written(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        for key, values in flat(80, 10).items():
            file.create_dataset(key, data=values, **({"chunks": (10, 5), "fletcher32": True} if values.ndim == 2 else {}))
    return path


def test_what_one_process_cannot_read_ends_all_with_one_line(tmp_path: Path) -> None:
    broken(written(tmp_path / "a.h5"))
    arguments = ["eval", "--emb", "a.h5", "-o", "out.json"]
    alone, first, second = ended(launched(tmp_path, *arguments, world=1) + launched(tmp_path, *arguments))
    assert alone[0] == 3 and "damaged" in alone[2] and len(alone[2].splitlines()) == 1
    assert (first, second) == (alone, (3, "", ""))
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_all_must_see_the_same_file(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        written(folder / "a.h5")
    with h5py.File(folders[1] / "a.h5", "r+") as file:
        file["text_embeddings"][...] += 1
    first, second = ended(launched(folders, "eval", "--emb", "a.h5"))
    assert first == (3, "", "error: a.h5: process 1 of this run sees another file than process 0; give all the same file\n")
    assert second == (3, "", "")
    (folders[1] / "a.h5").unlink()
    first, second = ended(launched(folders, "eval", "--emb", "a.h5"))
    assert first == (4, "", "error: a.h5: no such file\n") and second == (4, "", "")


def test_a_file_that_is_replaced_while_it_is_read_is_refused(tmp_path: Path) -> None:
    """Both processes have taken their rows of one table, and see the same other file ever after."""
    np.save(tmp_path / "text.npy", vectors(7, 1))
    np.save(tmp_path / "video.npy", vectors(7, 2))
    np.save(tmp_path / "new.npy", vectors(7, 3))
    code = (
        "import os\nfrom nclbench.machine import processes\nfrom nclbench.sources import shared\nfrom nclbench.cli import main\n"
        "plain = shared._own\n"
        "def own(*given):\n    found = plain(*given)\n    processes.exchange(b'taken')\n"
        "    if os.environ['RANK'] == '0' and os.path.exists('new.npy'):\n        os.replace('new.npy', 'text.npy')\n"
        "    processes.exchange(b'replaced')\n    return found\n"
        "shared._own = own\nmain()"
    )
    first, second = ended(launched(tmp_path, "eval", "--emb", "text.npy,video.npy", "-o", "out.json", program=("-c", code)))
    assert first == (3, "", "error: text.npy: changed while it was read; run again when nothing writes to it\n")
    assert second == (3, "", "")
    assert not (tmp_path / "new.npy").exists() and not (tmp_path / "out.json").exists()


def test_a_place_is_checked_only_by_the_process_that_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        written(folder / "a.h5")
    (folders[1] / "out").write_text("no folder")
    arguments = ["eval", "--emb", "a.h5", "--out-dir", "out", "--export-run", "out/runs", "--quiet"]
    first, second = ended(launched(folders, *arguments))
    assert first[0] == 0 and second == (0, "", ""), (first, second)
    assert (folders[0] / "out/results.json").exists() and (folders[1] / "out").is_file()
    page = str(folders[1] / "out" / "page.html")
    with pytest.raises(MissingError):
        _places(page, None, None, False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert _places(page, None, None, False) == [Path(page)]


@pytest.mark.parametrize("dies", [0, 1])
def test_a_process_that_dies_while_reading_ends_the_other(dies: int, tmp_path: Path) -> None:
    written(tmp_path / "a.h5")
    code = (
        "import os, signal\nfrom nclbench.sources import shared\nfrom nclbench.cli import main\n"
        f"if os.environ['RANK'] == '{dies}':\n    shared._own = lambda *given: os.kill(os.getpid(), signal.SIGKILL)\nmain()"
    )
    found = ended(launched(tmp_path, "eval", "--emb", "a.h5", "-o", "out.json", program=("-c", code)))
    assert found[dies][0] == -9
    code_of_other, _, said = found[1 - dies]
    assert code_of_other == 4 and "another process of this run has ended" in said and len(said.splitlines()) == 1, said
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_a_report_is_shared_too(tmp_path: Path) -> None:
    save(LAWFUL["banks"](), tmp_path / "a.h5")
    arguments = ["hubness-report", "--emb", "a.h5", "--normalize", "sinkhorn:tau=0.1", "--fail-on", "antihubs@10>0"]
    for world, name in ((1, "one"), (2, "two")):
        (tmp_path / name).mkdir()
        found = ended(launched(tmp_path, *arguments, "--out-dir", name, "--csv", "--json", world=world))
        if world == 1:
            alone = found[0]
            continue
        first, second = found
        assert second == (1, "", "") and first[0] == alone[0] == 1
        assert first[2].replace("two/", "one/") == alone[2] and "failed: " in alone[2]
        one, two = (json.loads(text) for text in (alone[1], first[1]))
        assert (one["environment"].pop("processes"), two["environment"].pop("processes")) == (1, 2)
        for each in (one, two):
            del each["timing"], each["command"]
        assert one == two and one["advice"]
        names = sorted(path.name for path in (tmp_path / "one").iterdir())
        assert names == sorted(path.name for path in (tmp_path / "two").iterdir())


# ---------------------------------------------------------------------------------------------- devices without memory

SPECS = ["none", "csls:k=3", "sinkhorn:tau=0.1", "gc", "sinkhorn:tau=0.1,iters=2"]
TILE = (64, 64)


def tired(limit: int) -> list[int]:
    """Of this process, tiles of more entries fail as they would on a full device."""
    made: list[int] = []
    plain = Embedded.tile

    def tile(self: Embedded, rows: Any, columns: Any) -> torch.Tensor:
        found = plain(self, rows, columns)
        made.append(found.numel())
        if found.numel() > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return found

    Embedded.tile = tile  # type: ignore[method-assign]
    return made


def listed(found: dict[Any, factories.Found]) -> dict[str, dict[str, Any]]:
    return {str(key): {name: part.tolist() for name, part in each.integers().items()} for key, each in found.items()}


def kept_fit(task: Problem) -> list[Any]:
    """The path of a fit that has room for its kernel, and its biases."""
    fitted = potentials.sinkhorn(View(Bases(task, Plan(memory=KEPT)).base("queries", "items")), 0.1, iters=3)
    return [fitted.path, fitted.bias.tolist()]


def run_out(rank: int, folder: Path) -> dict[str, Any]:
    """Memory runs out in the second process only: for tiles, for a kernel that is kept, and for good."""
    found: dict[str, Any] = {}
    processes.ASKS = True
    plain_tile, plain_kernel = Embedded.tile, kernel.Kernel._finished
    task = factories.hubs(170, 50, 13)
    made = tired(300 if rank else 10**9)
    ranked = factories.integers(task, SPECS, Plan(tile=TILE, memory=STREAMED))
    found["integers"] = listed(ranked)
    found["tiles"] = [max(made), min(made)]

    def scarce(self: kernel.Kernel, logits: torch.Tensor) -> torch.Tensor:
        if self.keep and rank:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain_kernel(self, logits)

    Embedded.tile = plain_tile  # type: ignore[method-assign]
    kernel.Kernel._finished = scarce  # type: ignore[method-assign]
    strips.ONE, strips.STRIP = 0, 400  # so that each process has some strips
    found["kernels"] = [kept_fit(task)]
    kernel.Kernel._finished = plain_kernel  # type: ignore[method-assign]

    plain_room = host.room

    def nowhere(shape: tuple[int, int], like: torch.Tensor) -> torch.Tensor:
        if shape[0] > 10:  # room for a strip there is
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain_room(shape, like)

    host.room = nowhere if rank else plain_room
    found["kernels"].append(kept_fit(task))
    host.room = plain_room
    tired(0 if rank else 10**9)
    with pytest.raises(torch.OutOfMemoryError) as error:
        factories.integers(task, ["none"], Plan(tile=TILE, memory=STREAMED))
    found["last"] = str(error.value)
    return found


def test_a_device_that_runs_out_in_one_process_changes_what_all_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launching.run(__file__, 2, tmp_path, "scarce")
    found = [json.loads((tmp_path / f"found.{rank}").read_text()) for rank in range(2)]
    task = factories.hubs(170, 50, 13)
    alone = factories.integers(task, SPECS, Plan(tile=TILE, memory=STREAMED))
    assert [mine["integers"] for mine in found] == 2 * [listed(alone)]
    # the first one had memory enough, and went on with small tiles all the same
    assert found[0]["tiles"][0] > 300 and found[0]["tiles"][1] <= 300
    monkeypatch.setattr(strips, "ONE", 0)
    monkeypatch.setattr(strips, "STRIP", 400)
    path, bias = kept_fit(task)
    assert path == "kept kernel"
    for mine in found:
        for path, there in mine["kernels"]:
            assert path == "streamed kernel"
            np.testing.assert_allclose(there, bias, rtol=0, atol=1e-12)
    assert found[0]["kernels"] == found[1]["kernels"]
    assert explained(torch.OutOfMemoryError("CUDA out of memory"))[0] == 4
    first, second = (mine["last"] for mine in found)
    assert (first, second) == ("the device of another process of this run is out of memory", "CUDA out of memory")


def test_what_only_one_process_knows_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would do so without the others, which wait for it elsewhere."""
    tried: list[str] = []

    def fails(error: type[torch.OutOfMemoryError], name: str) -> Any:
        def lacking(*given: Any) -> None:
            tried.append(name)
            raise error("CUDA out of memory")

        return lacking

    view = View(Bases(factories.hubs(70, 50, 13), Plan(memory=KEPT)).base("queries", "items"))
    assert view.largest > 0
    for world, error, passes, fits in (
        (1, torch.OutOfMemoryError, similarity._SHRINKS, 2),
        (2, torch.OutOfMemoryError, 1, 1),
        (2, processes.ShortOfMemory, similarity._SHRINKS, 2),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(processes, "world", lambda world=world: world)
            patch.setattr(processes, "rank", lambda: 0)
            patch.setattr(Plan, "keeps", lambda self, size: True)
            patch.setattr(similarity, "_swept", fails(error, "pass"))
            patch.setattr(kernel.Kernel, "_scale", fails(error, "fit"))
            with pytest.raises(torch.OutOfMemoryError):
                similarity.sweep([])
            with pytest.raises(torch.OutOfMemoryError):
                kernel.Kernel.of(view, 0.1, torch.full((70,), 1 / 70))
        assert (tried.count("pass"), tried.count("fit")) == (passes, fits), (world, error)
        tried.clear()
    assert explained(processes.ShortOfMemory("CUDA out of memory"))[0] == 4


if __name__ == "__main__":
    number, count, place, what = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    join(number, count, place)
    if what == "far" and number == count - 1:
        machines._machine = lambda: 32 * b"-"
    if what == "hindered":
        result = hindered(number, count)
    else:
        result = run_out(number, place) if what == "scarce" else read_all(number, place) | one_copy(number)
    (place / f"found.{number}").write_text(json.dumps(result))
    dist.barrier()
    dist.destroy_process_group()
