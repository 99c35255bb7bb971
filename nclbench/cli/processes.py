"""Several processes as one run: `torchrun --nproc-per-node 2 -m nclbench eval …`. All read and compute, the first one writes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from nclbench.errors import UsageError


def world() -> int:
    """How many processes torchrun, or another launcher with its variables, has started."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def follower() -> bool:
    """Whether another process speaks and writes."""
    return world() > 1 and os.environ["RANK"] != "0"


def alone(command: str) -> None:
    """For commands that several processes cannot share."""
    if world() > 1:
        raise UsageError(f"{command} runs in one process; only eval and hubness-report are shared by several")


@contextmanager
def joined(device: str) -> Iterator[str]:
    """The processes of this run, ready to talk to each other; gives the device of this one."""
    if world() == 1:
        yield device
        return
    from nclbench.machine import processes

    with processes.joined(device) as mine:
        yield mine
