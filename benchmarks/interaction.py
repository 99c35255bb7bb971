"""DMAE and token-wise interaction at 1000 x 1000: CPU seconds and peak memory beside the GEMM alone and the plain einsum.

    python benchmarks/interaction.py [--size 1000] [--rounds 5] [-o benchmarks/interaction.json]

The three are run in turns in one process and the medians of CPU seconds are compared, on one thread. Memory is the peak
resident set above what the inputs take, each variant in a process of its own.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nclbench.machine import host
from nclbench.machine.threads import alone
from nclbench.plan import Plan
from nclbench.problem import Embeddings
from nclbench.scorers import scorers
from nclbench.tokens import Tokens

WORDS, FRAMES, FEATURES = 32, 12, 512
SPECS = {"dmae": "dmae", "dmae without visual attention": "dmae:va=false", "ti": "ti", "maxsim": "maxsim"}


def collection(rows: int, length: int, seed: int) -> Embeddings:
    """Random vectors, nothing masked."""
    values = np.random.default_rng(seed).standard_normal((rows, length, FEATURES), dtype=np.float32)
    tokens = Tokens(values, np.ones(values.shape[:2], dtype=np.bool_))
    return Embeddings(tuple(map(str, range(rows))), values.mean(1), tokens=tokens)


def sides(size: int) -> tuple[Embeddings, Embeddings]:
    return collection(size, WORDS, 1), collection(size, FRAMES, 2)


def ours(spec: str, text: Embeddings, video: Embeddings, fine: bool = False) -> Callable[[], torch.Tensor]:
    """A pass over all scores; the vectors are prepared before, as they are in a run."""
    scorer, _ = scorers.parse(spec).settled(text, video)
    left, right = scorer.sets(text, True, Plan()), scorer.sets(video, False, Plan())
    return lambda: (scorer.fine if fine else scorer.tile)(left, right)


def floor(text: Embeddings, video: Embeddings, sentence: bool, kind: torch.dtype = torch.float32) -> Callable[[], None]:
    """The products alone, in tiles of the size that multiplies best, by the faster library, nothing kept."""
    assert text.tokens is not None and video.tokens is not None
    words = torch.from_numpy(text.tokens.values).flatten(0, 1)
    if sentence:
        words = torch.cat([words, torch.from_numpy(text.vectors)])
    words, frames = words.to(kind), torch.from_numpy(video.tokens.values).flatten(0, 1).to(kind)
    out = torch.empty(1024, 2048, dtype=kind)

    def run() -> None:
        for top in range(0, len(words), 1024):
            for left in range(0, len(frames), 2048):
                a, b = words[top : top + 1024], frames[left : left + 2048]
                host.product(a, b, out.view(-1)[: len(a) * len(b)].view(len(a), len(b)))

    return run


def einsum(text: Embeddings, video: Embeddings, sentence: bool, attention: bool) -> Callable[[], torch.Tensor]:
    """As papers write it: all products at once, masks multiplied in, maxima over the last two axes."""
    assert text.tokens is not None and video.tokens is not None
    unit = torch.nn.functional.normalize
    frames, mask = unit(torch.from_numpy(video.tokens.values), dim=-1), torch.from_numpy(video.tokens.mask).float()
    gram = torch.einsum("vfd,vgd->vfg", frames, frames)
    gram.diagonal(dim1=1, dim2=2).zero_()
    gain, near = gram.max(-1)

    def half(words: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        s = torch.einsum("tld,vfd->tvlf", words, frames)
        s = torch.einsum("tvlf,tl->tvlf", s, present)
        s = torch.einsum("tvlf,vf->tvlf", s, mask)
        best, which = s.max(-1)
        if attention:
            at = torch.arange(len(frames))[None, :, None]
            best = best + 0.5 * gain[at, which] * s.gather(-1, near[at, which][..., None])[..., 0]
        forth = torch.einsum("tvl,tl->tv", best, present / present.sum(-1, keepdim=True))
        back = torch.einsum("tvf,vf->tv", s.max(2).values, mask / mask.sum(-1, keepdim=True))
        return (forth + back) / 2

    words, present = unit(torch.from_numpy(text.tokens.values), dim=-1), torch.from_numpy(text.tokens.mask).float()
    whole = unit(torch.from_numpy(text.vectors), dim=-1)[:, None]

    def run() -> torch.Tensor:
        each = half(words, present)
        return (each + half(whole, torch.ones(whole.shape[:2]))) / 2 if sentence else each

    return run


def seconds(run: Callable[[], Any]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as line:
        return int(line.read().split()[1]) * resource.getpagesize()


def peak(run: Callable[[], Any]) -> int:
    """Bytes above those held before, sampled every millisecond."""
    before, found, done = resident(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.001):
            found[0] = max(found[0], resident() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    run()
    done.set()
    watcher.join()
    return found[0]


def memory(size: int, what: str) -> int:
    """The peak of one variant, in a process of its own. Ours with the prepared vectors."""
    text, video = sides(size)
    variants: dict[str, Callable[[], Any]] = {
        "dmae": lambda: ours("dmae", text, video)(),
        "ti": lambda: ours("ti", text, video)(),
        "dmae einsum": lambda: einsum(text, video, True, True)(),
        "ti einsum": lambda: einsum(text, video, False, False)(),
    }
    return peak(variants[what])


def measured(size: int, rounds: int) -> dict[str, Any]:
    text, video = sides(size)
    runs: dict[str, Callable[[], Any]] = {name: ours(spec, text, video) for name, spec in SPECS.items()}
    runs["dmae, float64"] = ours("dmae", text, video, fine=True)
    runs["floor of dmae"] = floor(text, video, True)
    runs["floor of ti"] = floor(text, video, False)
    runs["floor of dmae, float64"] = floor(text, video, True, torch.float64)
    runs["einsum of dmae"] = einsum(text, video, True, True)
    runs["einsum of ti"] = einsum(text, video, False, False)
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            taken[name].append(seconds(run))
    found = {name: statistics.median(times[1:]) for name, times in taken.items()}
    off = float((runs["dmae"]() - runs["einsum of dmae"]()).abs().max())
    return {"seconds": found, "difference of dmae and einsum": off}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory-of")
    parser.add_argument("-o", "--output", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.memory_of:
        with alone():
            print(memory(asked.size, asked.memory_of))
        return
    load = os.getloadavg()[0]
    with alone():  # numpy's products by one thread, too
        found = measured(asked.size, asked.rounds)
    found["peak bytes"] = {
        what: int(subprocess.run([sys.executable, __file__, "--size", str(asked.size), "--memory-of", what],
                                 capture_output=True, text=True, check=True).stdout)
        for what in ("dmae", "ti", "dmae einsum", "ti einsum")
    }  # fmt: skip
    found["machine"] = {
        "processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "threads": 1, "load before": load,
        "torch": str(torch.__version__), "size": asked.size, "words": WORDS, "frames": FRAMES, "features": FEATURES,
        "gemm GFLOP/s": 2e-9 * asked.size**2 * (WORDS + 1) * FRAMES * FEATURES / found["seconds"]["floor of dmae"],
    }  # fmt: skip
    text = json.dumps(found, indent=1)
    print(text)
    if asked.output:
        asked.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
