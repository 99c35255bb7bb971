"""Which variants are set against each other, what their seconds say, and what we promised.

A contest is one piece of work, run in turns; ratios are medians over rounds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from nclbench.bench.data import Data
from nclbench.bench.figures import Figure, Goal, beside, median, multiple, plain, single
from nclbench.bench.limits import Gemm
from nclbench.bench.peers import FIXED, TOLERANT, Peer, Task, importable
from nclbench.bench.rankers import FAISS, LIBRARY_METRICS, SIX, SORT, Ranker, sort_and_pot
from nclbench.bench.stages import Stages, adaptive
from nclbench.bench.timing import Turns, Variant, over, per_step

OURS = "nclbench"
GEMM, READ = "GEMM alone", "read of 256 MB"
# goals are stated for S of 1000 x 1000, of 5000 x 5000, of 10000 x 10000, at this width
_SMALL, _MIDDLE, _LARGE, _WIDTH = 1_000_000, 25_000_000, 100_000_000, 512
# iterations that they are stated for: making the kernel is a small part of so many
_MANY = 10
# what may be slower than a peer in small work
_NEVER = 1 / 1.3


@dataclass(frozen=True)
class Contest:
    """title: a piece of work. judge: what the seconds say."""

    title: str
    variants: tuple[Variant, ...]
    judge: Callable[[Turns], list[Figure]]


@dataclass(frozen=True, eq=False)
class Setting:
    """What contests are made from. gemms: by library, the fastest first. reading: bytes of a large array, and a call that
    reads it.

    peers: whether others take part; more: also those that only benchmarks/ runs.
    """

    data: Data
    gemms: Mapping[str, Gemm]
    reading: tuple[int, Callable[[], None]]
    peers: bool = True
    more: bool = False

    @property
    def _limits(self) -> list[Variant]:
        """The fastest GEMM, which others are measured by, and those of other libraries."""
        best, *others = self.gemms.items()
        return [Variant(GEMM, best[1].call), *(Variant(f"{GEMM}, {name}", each.call) for name, each in others)]

    def _limited(self, turns: Turns) -> list[Figure]:
        return [plain(turns, GEMM), *(multiple(turns, each.name, GEMM) for each in self._limits[1:])]

    def _most(self, elements: int, value: float) -> Goal | None:
        """A goal beside a GEMM, stated for so many entries of S and more."""
        return ("at most", value) if self.data.elements >= elements and self.data.dim == _WIDTH else None

    def embeddings(self) -> Contest:
        """Ranking both ways without holding S."""
        stages = Stages(self.data)
        view = stages.from_embeddings()
        everything, few = f"{OURS}, ranks and ten best both ways", f"{OURS}, ten best of each query alone"
        ours = [
            Variant(f"{OURS}, ranks both ways", lambda: stages.ranks(view)),
            Variant(everything, lambda: stages.ranks(view, 10)),
            Variant(few, lambda: stages.top(view)),
        ]
        others = list(self._rankers([FAISS], self.data))

        def judge(turns: Turns) -> list[Figure]:
            goals = {everything: self._most(_LARGE, 1.5)}
            found = [multiple(turns, v.name, GEMM, goals.get(v.name)) for v in ours]
            least = 1 / 1.5 if self.data.elements >= _LARGE else None
            return [*self._limited(turns), *found, *(beside(turns, v.name, everything, least) for v in others)]

        return Contest("Ranking from embeddings", (*self._limits, *ours, *others), judge)

    def matrix(self) -> Contest:
        """Ranking both ways from a ready S."""
        stages = Stages(self.data)
        name = f"{OURS}, ranks both ways"
        variants = [
            Variant(name, lambda: stages.ranks(stages.from_matrix())),
            *self._rankers([SORT], self.data),
        ]

        def judge(turns: Turns) -> list[Figure]:
            goal = 60.0 if self.data.elements >= _MIDDLE else 20.0 if self.data.elements >= _SMALL else None
            cost = 1e9 * median(turns.seconds[name]) / self.data.elements
            return [plain(turns, name, cost, "ns an element"), *(beside(turns, v.name, name, goal) for v in variants[1:])]

        return Contest("Ranking from a ready matrix", tuple(variants), judge)

    def metrics(self) -> Contest:
        """Six metrics of the queries, of a thousand pairs: libraries of metrics take minutes for more."""
        data = self.data.first(1000)
        stages = Stages(data)
        variants = [Variant(OURS, lambda: stages.six(SIX)), *self._rankers(LIBRARY_METRICS, data)]
        goals = {each.name: each.goal for each in LIBRARY_METRICS}

        def judge(turns: Turns) -> list[Figure]:
            cost = 1e9 * median(turns.seconds[OURS]) / data.elements
            others = [(v.name, goals[v.name] if data.elements >= _SMALL else None) for v in variants[1:]]
            return [plain(turns, OURS, cost, "ns an element"), *(beside(turns, each, OURS, goal) for each, goal in others)]

        return Contest(f"Six metrics of {data.shape[0]} x {data.shape[1]}", tuple(variants), judge)

    def fixed(self, tau: float, iterations: int) -> Contest:
        """Plain iterations from a ready S; making the kernel is included, and told apart in the first line."""
        stages = Stages(self.data)
        task, steps = Task(self.data, tau, iterations), adaptive(self.data.elements)
        name = f"{OURS}, {iterations} iterations"
        short, long = "one iteration", f"{1 + steps} iterations"
        peers = self._solvers(FIXED, task)
        variants = (
            Variant(READ, self.reading[1]),
            Variant(short, lambda: stages.iterates(stages.from_matrix(), tau, 1)),
            Variant(long, lambda: stages.iterates(stages.from_matrix(), tau, 1 + steps)),
            Variant(name, lambda: stages.iterates(stages.from_matrix(), tau, iterations)),
            *(variant for _, variant in peers),
        )

        def judge(turns: Turns) -> list[Figure]:
            alone = per_step(turns.seconds[long], turns.seconds[short], steps)
            # of a kernel in float32 read once, whatever it is kept in
            ideal = [4 * self.data.elements / (self.reading[0] / seconds) for seconds in turns.seconds[READ]]
            share = over(ideal, alone) if alone else None
            percent = None if share is None else 100 * share
            bandwidth = ("at least", 45.0) if self.data.elements >= _LARGE else None
            found = [
                plain(turns, READ),
                single(f"{OURS}, one pass", alone, percent, "% of one float32 read", bandwidth),
                plain(turns, name, 1e3 * median(turns.seconds[name]) / iterations, "ms an iteration"),
            ]
            for peer, variant in peers:
                done = turns.found[variant.name].iterations if variant.name in turns.found else iterations
                note = "" if done == iterations else f"{done} iterations"
                goal = peer.goal if iterations >= _MANY else None
                found.append(beside(turns, variant.name, name, self._least(goal), iterations / done, note))
            return found

        return Contest(f"Sinkhorn at tau {tau:g} from a ready matrix, kernel included", variants, judge)

    def _least(self, goal: float | None) -> float | None:
        if self.data.elements >= _MIDDLE:
            return goal
        return _NEVER if self.data.elements >= _SMALL else None

    def streamed(self, tau: float) -> Contest:
        """One iteration that makes S again."""
        stages = Stages(self.data)
        view = stages.from_embeddings()
        steps = 2 if self.data.elements > _SMALL else 20
        short, long = "one iteration", f"{1 + steps} iterations"
        variants = (
            *self._limits,
            Variant(short, lambda: stages.iterates(view, tau, 1)),
            Variant(long, lambda: stages.iterates(view, tau, 1 + steps)),
        )

        def judge(turns: Turns) -> list[Figure]:
            alone = per_step(turns.seconds[long], turns.seconds[short], steps)
            value = over(alone, turns.seconds[GEMM]) if alone else None
            goal = self._most(_LARGE, 1.15)
            return [*self._limited(turns), single(f"{OURS}, one pass", alone, value, "x its GEMM", goal)]

        return Contest(f"Sinkhorn at tau {tau:g}, streamed from embeddings", variants, judge)

    def tolerance(self, tau: float, tol: float) -> Contest:
        """To a marginal error, from a ready S."""
        stages = Stages(self.data)
        peers = self._solvers(TOLERANT, Task(self.data, tau, 5000, tol))
        ours = Variant(OURS, lambda: stages.balanced(stages.from_matrix(), tau, tol))
        variants = (ours, *(variant for _, variant in peers))

        def judge(turns: Turns) -> list[Figure]:
            passes = float(turns.found[OURS].iterations)
            stated = self.data.elements >= 4 * _SMALL and (tau, tol) == (0.01, 1e-3)
            found = [plain(turns, OURS, passes, "passes", ("at most", 30.0) if stated else None)]
            for peer, variant in peers:
                said = f"{turns.found[variant.name].iterations} iterations" if variant.name in turns.found else ""
                found.append(beside(turns, variant.name, OURS, peer.goal if stated else None, note=said))
            return found

        return Contest(f"Sinkhorn at tau {tau:g} to a marginal error of {tol:g}", variants, judge)

    def whole(self, tau: float, iterations: int) -> Contest:
        """Raw and normalised, both ways, from embeddings: the metrics alone, as others give them, and all that evaluate does."""
        stages, spec = Stages(self.data), f"sinkhorn:tau={tau:g},iters={iterations}"
        other = "numpy sort and POT, float64"
        peers: list[Variant] = []
        if self.peers and importable("ot"):
            peers.append(_foreign(other, lambda: sort_and_pot(self.data, tau, iterations)))
        whole = f"{OURS}, evaluate, with intervals"
        variants = (
            *self._limits,
            Variant(OURS, lambda: stages.both(spec)),
            Variant(whole, lambda: stages.evaluation(spec)),
            *peers,
        )

        def judge(turns: Turns) -> list[Figure]:
            least = 8.0 if self.data.elements >= _MIDDLE else None
            goal = self._most(_MIDDLE, 2.3)
            found = [*self._limited(turns), multiple(turns, OURS, GEMM, goal), multiple(turns, whole, GEMM)]
            return [*found, *(beside(turns, each.name, OURS, least) for each in peers)]

        return Contest(f"Metrics raw and under {spec}, both ways, from embeddings", variants, judge)

    def _rankers(self, rankers: Sequence[Ranker], data: Data) -> Iterator[Variant]:
        for each in rankers:
            if self.peers and importable(each.module):
                yield _foreign(each.name, partial(each.make, data))

    def _solvers(self, peers: Sequence[Peer], task: Task) -> list[tuple[Peer, Variant]]:
        def takes_part(peer: Peer) -> bool:
            return self.more or not (peer.extra or task.data.elements > peer.slow)

        chosen = [peer for peer in peers if self.peers and importable(peer.module) and takes_part(peer)]
        return [(peer, _foreign(peer.name, partial(peer.make, task))) for peer in chosen]


def _foreign(name: str, make: Callable[[], Callable[[], Any]]) -> Variant:
    """Prepared when it is first called, so that even this may fail."""
    made: list[Callable[[], Any]] = []

    def call() -> Any:
        if not made:
            made.append(make())
        return made[0]()

    return Variant(name, call, foreign=True)
