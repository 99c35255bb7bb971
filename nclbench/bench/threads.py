"""The same number of threads for every library. Most read it once, when they are loaded: so this comes before them."""

import ctypes
import os
from importlib.util import find_spec
from pathlib import Path

_NUMBERS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "NPROC")


def available() -> int:
    """Cores that this process may use, or as few as OMP_NUM_THREADS says."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(asked)) if asked.isdigit() and int(asked) else cores


def settle(count: int | None, device: str) -> int:
    """Tells every library how many threads it has; gives how many. None: all that are available.

    To be called before torch and any peer is imported. numpy may have been: its OpenBLAS is told directly.
    """
    count = available() if count is None else count
    for name in _NUMBERS:
        os.environ[name] = str(count)
    if count == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    # JAX would take three quarters of a GPU's memory for itself
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    if device == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    for library in openblas():
        for name in ("scipy_openblas_set_num_threads64_", "scipy_openblas_set_num_threads"):
            if hasattr(library, name):
                getattr(library, name)(count)
    return count


def openblas() -> list[ctypes.CDLL]:
    """The OpenBLAS in numpy's wheel, the very one that numpy uses; none where numpy was built otherwise."""
    numpy = find_spec("numpy")
    if numpy is None or numpy.origin is None:
        return []
    folder = Path(numpy.origin).parent
    places = (folder.with_name("numpy.libs"), folder / ".dylibs")
    return [ctypes.CDLL(str(file)) for place in places for file in sorted(place.glob("libscipy_openblas*"))]
