"""Two and three processes (gloo), one of them idle, give the integers of one; a hang is a failure."""

import json
import pickle
import subprocess
import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import factories
import launching
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import torch.distributed as dist
from factories import KEPT, LAWFUL, STREAMED
from launching import LIMIT, at_work, ended, launched

from nclbench import compiled, evaluate, load
from nclbench.plan import Plan
from nclbench.problem import Problem, Relevance
from nclbench.results import Results
from nclbench.similarity import grid
from nclbench.sinks import save

CASES = ["repeated", "ties-dot", "captions", "tokens", "banks-scores-64", "captions-scores-32"]
# the last leaves all processes but one without a tile
TILES = {"odd": (7, 5), "wide": (33, 97), "one": (10**6, 10**6)}
CHOSEN = {
    2: (("streamed", "odd"), ("streamed", "wide"), ("streamed", "one"), ("kept", "wide"), ("unequal", "wide")),
    3: (("streamed", "odd"), ("streamed", "one"), ("unequal", "wide")),
}


def plans(rank: int, world: int) -> dict[str, Plan]:
    """unequal: processes that do not agree on how much memory is free must still agree on what to do."""
    memory = {"streamed": STREAMED, "kept": KEPT, "unequal": KEPT if rank else STREAMED}
    return {f"{kind}-{tile}": Plan(tile=TILES[tile], memory=memory[kind]) for kind, tile in CHOSEN[world]}


def cases(name: str) -> list[str]:
    """All of them in small tiles and of kept scores, every other one where nearly the same is done."""
    halves = {"streamed-wide": CASES[::2], "streamed-one": CASES[1::2], "unequal-wide": CASES[::2]}
    return halves.get(name, CASES)


def lopsided() -> Problem:
    """Only rows that the second process holds are beyond what may be kept as exponentials at tau 0.005."""
    scores = np.random.default_rng(0).uniform(-1, 1, size=(66, 50))
    scores[:33] /= 50
    return factories.of_scores(scores, Relevance.of_items(np.arange(66) % 50))


COLD = ["sinkhorn:tau=0.005,iters=3"]


def child(rank: int, world: int, folder: Path) -> None:
    """What each process does: all cases under all plans, and the state of the world before and after."""
    torch.set_num_threads(1)
    if rank == 1:
        # what one process counts with must not change what it is given to count
        compiled.load()
        grid._READ = 200
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world, timeout=timedelta(seconds=LIMIT)
    )
    found: dict[Any, Any] = {}
    for name, plan in plans(rank, world).items():
        assert (plan.world, plan.rank) == (world, rank)
        for case in cases(name):
            integers = factories.integers(LAWFUL[case](), factories.specs(), plan)
            found[name, case] = {key: (each.integers(), each.bias) for key, each in integers.items()}
    cold = factories.integers(lopsided(), COLD, Plan(tile=TILES["wide"], memory=KEPT))
    found["lopsided"] = {key: each.integers() for key, each in cold.items()}
    # three strips of 20 rows and one of 1, for two or three processes
    strips = [rows.start for strip in Plan(tile=(20, 20)).tiles(([0, 20, 40, 60, 61], [0, 61])) for rows, _ in strip]
    results = evaluate(LAWFUL["captions"](), ["sinkhorn"], plan=Plan(tile=(16, 16), memory=STREAMED), hubness=True)
    found["evaluate"] = [run.metrics for run in results.runs], results.environment["processes"], strips
    found["rivals"] = rivals_of(results)
    (folder / f"found.{rank}").write_bytes(pickle.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


def rivals_of(results: Results) -> tuple[Any, Any, list[float]]:
    """Counts of each item, numbers of hard negatives, and NegNCE."""
    hard = [[run.diagnostics[name]["value"] for name in ("hard.pairs", "hard.negnce")]
            for run in results.runs if "hard.pairs" in run.diagnostics]  # fmt: skip
    return results.items["over"], results.items["into"], [*map(list, zip(*hard, strict=True))]


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    torch.set_num_threads(1)
    plan = Plan(memory=KEPT)
    return {case: factories.integers(LAWFUL[case](), factories.specs(), plan) for case in CASES}


def run(world: int, folder: Path) -> list[dict[Any, Any]]:
    """What each process found."""
    launching.run(__file__, world, folder)
    return [pickle.loads((folder / f"found.{rank}").read_bytes()) for rank in range(world)]  # noqa: S301


@pytest.mark.parametrize("world", [2, 3])
def test_processes_give_the_integers_of_one(world: int, expected: dict[str, Any], tmp_path: Path) -> None:
    found = run(world, tmp_path)
    for rank, mine in enumerate(found):
        for name in plans(0, world):
            for case in cases(name):
                for key, want in expected[case].items():
                    integers, bias = mine[name, case][key]
                    assert integers.keys() == want.integers().keys(), (rank, name, case, key)
                    for part, values in want.integers().items():
                        where = f"{rank} {name} {case} {key} {part}"
                        np.testing.assert_array_equal(integers[part], values, err_msg=where)
                    if want.bias is not None:
                        np.testing.assert_allclose(bias, want.bias, rtol=0, atol=1e-10)
                        np.testing.assert_array_equal(bias, found[0][name, case][key][1])  # one answer, to the bit
        for key, want in factories.integers(lopsided(), COLD, Plan(memory=STREAMED)).items():
            for part, values in want.integers().items():
                np.testing.assert_array_equal(mine["lopsided"][key][part], values)
    alone = evaluate(LAWFUL["captions"](), ["sinkhorn"], plan=Plan(memory=KEPT), hubness=True)
    over, into, (pairs, losses) = rivals_of(alone)
    for mine in found:
        np.testing.assert_array_equal(mine["rivals"][0], over)
        np.testing.assert_array_equal(mine["rivals"][1], into)
        assert mine["rivals"][2][0] == pairs and sum(pairs) > 0
        np.testing.assert_allclose(mine["rivals"][2][1], losses, rtol=1e-11)
        assert mine["rivals"][2] == found[0]["rivals"][2]
    for metrics, processes, _ in (mine["evaluate"] for mine in found):
        assert metrics == [each.metrics for each in alone.runs]
        assert processes == world
    shares = [mine["evaluate"][2] for mine in found]
    assert sorted(start for share in shares for start in share) == [0, 20, 40, 60]
    assert all(share for share in shares)


def test_some_processes_are_idle() -> None:
    """The plans above include one where all but the first process never see a tile, whichever side is cut."""
    for case in CASES:
        problem = LAWFUL[case]()
        assert max(len(problem.queries), len(problem.items)) < min(TILES["one"])


if __name__ == "__main__":
    child(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))


# ---------------------------------------------------------------------------------------------- the command line


def test_one_process_speaks_and_writes_what_a_single_one_does(tmp_path: Path) -> None:
    save(LAWFUL["banks"](), tmp_path / "a.h5")
    arguments = ["eval", "--emb", "a.h5", "--normalize", "sinkhorn:tau=0.1", "--normalize", "gc", "--normalize", "csls:k=3"]
    (alone,) = ended(launched(tmp_path, *arguments, "-o", "one.json", world=1))
    first, second = ended(launched(tmp_path, *arguments, "-o", "two.json"))
    assert (first[0], second) == (0, (0, "", "")), first
    assert first[1] == alone[1] and first[2].replace("two.", "one.") == alone[2]
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("one.json", "two.json"))
    assert one["runs"] == two["runs"] and two["environment"]["processes"] == 2
    assert one["inputs"] == two["inputs"] and one["warnings"] == two["warnings"]
    for kind in ("queries", "items"):
        tables = [pq.read_table(tmp_path / f"{name}.{kind}.parquet") for name in ("one", "two")]
        one, two = (table.to_pandas() for table in tables)
        if "bias" in one:
            np.testing.assert_allclose(one.pop("bias"), two.pop("bias"), rtol=0, atol=1e-9)
        pd.testing.assert_frame_equal(one, two)


def test_torchrun_starts_it(tmp_path: Path) -> None:
    save(LAWFUL["captions"](), tmp_path / "a.npz")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m"]
    done = subprocess.run(
        [*torchrun, "nclbench", "eval", "--emb", "a.npz", "--normalize", "sinkhorn:tau=0.1", "--json", "-q"],
        cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    runs = json.loads(done.stdout)["runs"]
    assert [run["metrics"] for run in runs] == [
        json.loads(json.dumps(asdict(run)))["metrics"] for run in evaluate(load(tmp_path / "a.npz"), ["sinkhorn:tau=0.1"]).runs
    ]


def test_a_mistake_is_said_once(tmp_path: Path) -> None:
    first, second = ended(launched(tmp_path, "eval", "--emb", "gone.h5"))
    assert (first[0], second[0]) == (4, 4)
    assert "no such file" in first[2] and len(first[2].splitlines()) == 1
    save(LAWFUL["captions"](), tmp_path / "a.npz")
    first, second = ended(launched(tmp_path, "sweep", "--val", "a.npz", "--normalize", "is:tau=1|2"))
    assert (first[0], second) == (2, (2, "", "")) and "runs in one process" in first[2]


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_ends_the_run_with_a_line_and_without_a_file(killed: int, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    np.save(tmp_path / "s.npy", draw.normal(size=(2500, 2500)).astype(np.float32))
    endless = "sinkhorn:tau=0.02,iters=1000000"
    processes = launched(tmp_path, "eval", "--emb", "s.npy", "--normalize", endless, "-o", "out.json", "-q")
    try:
        for process in processes:
            at_work(process)
        assert all(process.poll() is None for process in processes)
        processes[killed].kill()
        other = processes[1 - killed]
        code, said = other.wait(60), other.communicate()[1]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert code == 4 and "another process of this run has ended" in said and len(said.splitlines()) == 1, said
    assert [path.name for path in tmp_path.iterdir()] == ["s.npy"]
