"""Two and three processes (gloo), one of them idle, give the integers of one; a hang is a failure."""

import os
import pickle
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import factories
import numpy as np
import pytest
import torch
import torch.distributed as dist
from factories import KEPT, LAWFUL, STREAMED

from nclbench import evaluate
from nclbench.plan import Plan
from nclbench.problem import Problem, Relevance

LIMIT = 150.0  # seconds for all processes together
CASES = ["repeated", "ties-dot", "captions", "banks-scores-64", "captions-scores-32"]
# the last leaves all processes but one without a tile
TILES = {"odd": (7, 5), "wide": (33, 97), "one": (10**6, 10**6)}
CHOSEN = (("streamed", "odd"), ("streamed", "wide"), ("streamed", "one"), ("kept", "wide"), ("unequal", "wide"))


def plans(rank: int) -> dict[str, Plan]:
    """unequal: processes that do not agree on how much memory is free must still agree on what to do."""
    memory = {"streamed": STREAMED, "kept": KEPT, "unequal": KEPT if rank else STREAMED}
    return {f"{kind}-{tile}": Plan(tile=TILES[tile], memory=memory[kind]) for kind, tile in CHOSEN}


def lopsided() -> Problem:
    """Only rows that the second process holds are beyond what may be kept as exponentials at tau 0.005."""
    scores = np.random.default_rng(0).uniform(-1, 1, size=(66, 50))
    scores[:33] /= 50
    return factories.of_scores(scores, Relevance.of_items(np.arange(66) % 50))


COLD = ["sinkhorn:tau=0.005,iters=3"]


def child(rank: int, world: int, folder: Path) -> None:
    """What each process does: all cases under all plans, and the state of the world before and after."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world, timeout=timedelta(seconds=LIMIT)
    )
    found: dict[Any, Any] = {}
    for name, plan in plans(rank).items():
        assert (plan.world, plan.rank) == (world, rank)
        for case in CASES:
            integers = factories.integers(LAWFUL[case](), factories.specs(), plan)
            found[name, case] = {key: (each.integers(), each.bias) for key, each in integers.items()}
    cold = factories.integers(lopsided(), COLD, Plan(tile=TILES["wide"], memory=KEPT))
    found["lopsided"] = {key: each.integers() for key, each in cold.items()}
    # three strips of 20 rows and one of 1, for two or three processes
    strips = [rows.start for rows, _ in Plan(tile=(20, 20)).tiles(([0, 20, 40, 60, 61], [0, 61]))]
    results = evaluate(LAWFUL["captions"](), ["sinkhorn"], plan=Plan(tile=(16, 16), memory=STREAMED))
    found["evaluate"] = [run.metrics for run in results.runs], results.environment["processes"], strips
    (folder / f"found.{rank}").write_bytes(pickle.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    torch.set_num_threads(1)
    plan = Plan(memory=KEPT)
    return {case: factories.integers(LAWFUL[case](), factories.specs(), plan) for case in CASES}


def run(world: int, folder: Path) -> list[dict[Any, Any]]:
    """Starts the processes and returns what each found; kills them all when time is up or one fails."""
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    started = []
    for rank in range(world):
        with (folder / f"stderr.{rank}").open("w") as said:
            command = [sys.executable, __file__, str(rank), str(world), str(folder)]
            started.append(subprocess.Popen(command, env=environment, stderr=said))
    end = time.monotonic() + LIMIT
    try:
        while any(process.poll() is None for process in started):
            failed = [rank for rank, process in enumerate(started) if process.poll()]
            if failed or time.monotonic() > end:
                tails = [(folder / f"stderr.{rank}").read_text()[-2000:] for rank in failed or range(world)]
                pytest.fail(f"processes {failed} failed: {tails}" if failed else f"hung: {tails}")
            time.sleep(0.05)
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert [process.returncode for process in started] == [0] * world
    return [pickle.loads((folder / f"found.{rank}").read_bytes()) for rank in range(world)]  # noqa: S301


@pytest.mark.parametrize("world", [2, 3])
def test_processes_give_the_integers_of_one(world: int, expected: dict[str, Any], tmp_path: Path) -> None:
    found = run(world, tmp_path)
    for rank, mine in enumerate(found):
        for name in plans(0):
            for case in CASES:
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
    alone = evaluate(LAWFUL["captions"](), ["sinkhorn"], plan=Plan(memory=KEPT))
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
