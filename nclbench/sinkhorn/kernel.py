"""exp of the scores, strip by strip: kept where it fits, made again at every pass where not, the same bits either way.

K_ij = exp(L_ij + row_i + column_j) with L = S / tau. row and column take off the rows' maxima and then the columns': all
entries lie in (0, 1], and every row and every column has a 1, so that none can vanish as a whole.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from nclbench.machine import host, processes
from nclbench.machine.wide import Wide
from nclbench.plan import HALF, SCORES, SUMS
from nclbench.similarity.interfaces import Scores
from nclbench.sinkhorn import precision
from nclbench.sinkhorn.entries import log_sums, logits, maxima
from nclbench.sinkhorn.passes import Ask, Drawn, Pass, Sweep
from nclbench.sinkhorn.strips import apart, blocks, parts, spare, strips

_LEFT = "kernel"  # where on a shelf


@dataclass(eq=False)
class Kernel:
    """scale: 1 / tau. mass: (N,) shares of the rows. row (N,), column (M,): logarithms taken into K; infinite of others' rows.

    taken: (M,) what was added to L before, where weights had grown far apart; None at first. packed: kept in float16.
    kept: this process's strips of K by their first row, empty where they are made again.
    """

    scores: Scores
    scale: float
    mass: Tensor
    strips: list[slice]
    kind: torch.dtype
    keep: bool
    packed: bool
    row: Tensor
    column: Tensor
    taken: Tensor | None = None
    kept: dict[int, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, scores: Scores, tau: float, mass: Tensor, wish: str = "auto") -> "Kernel | None":
        """None where the temperature is too cold for exponentials of rounded scores. wish: one of `precision.KINDS`."""
        (n, m), plan = scores.shape, scores.plan
        kind = precision.of(n, m, wish)
        left: Kernel | None = (scores.shelf or {}).pop(_LEFT, None)
        if left is not None and (left.scale, left.kind, left.scores.reverse) == (1 / tau, kind, scores.reverse):
            return replace(left, scores=scores, mass=mass)
        del left  # before another one takes as much memory
        if kind == SCORES and scores.largest / tau > precision.COLDEST:
            return None
        row = torch.full((n,), torch.inf, dtype=SUMS, device=plan.device)
        column = torch.zeros(m, dtype=SUMS, device=plan.device)
        # who keeps scores has left room for a kernel in single precision beside them
        keep = plan.keeps(n * m * kind.itemsize + (scores.held if kind != SCORES else 0))
        packed = plan.packed and kind == SCORES and plan.keeps(n * m * HALF.itemsize)
        found = cls(scores, 1 / tau, mass, strips(n, m, plan, kind), kind, keep or packed, packed and not keep, row, column)
        while True:
            try:
                found._scale(column)
                return found
            except torch.OutOfMemoryError as error:  # of a device: what cannot be kept is packed, else made again
                if not found.keep or not processes.retried(error):
                    raise
            found.keep, found.packed, found.kept = packed and not found.packed, packed and not found.packed, {}

    def leave(self) -> None:
        """To be taken by the next one who asks for the same, if it is as it was made."""
        if self.scores.shelf is not None and self.taken is None:
            self.scores.shelf[_LEFT] = self

    @property
    def scaling(self) -> Tensor:
        """(M,) the bias that K is scaled with."""
        return self.column if self.taken is None else self.column + self.taken

    def error(self, steps: int) -> float:
        """About how far potentials may lie from those of as many steps in float64, in units of L; packed, passes add up."""
        if self.kind == SUMS:
            return 0.0
        scores = self.scores.largest * self.scale * (precision.CUT if self.scores.plan.split else 1)
        return precision.ROUNDED * (scores + 1 + steps) + precision.PACKED * (steps + 1) * self.packed

    @property
    def rounded(self) -> bool:
        return self.kind != SUMS

    @property
    def path(self) -> str:
        return "streamed kernel" if not self.keep else "kept kernel, half" if self.packed else "kept kernel"

    def passed(self, ask: Ask) -> Pass:
        found = self.together([ask])
        if found is not None:
            return found[0]
        if isinstance(ask, Drawn):
            return Pass(self._looked(ask.weights))
        # of K scaled for this b nothing is lost: each row has an entry of 1 under the largest weight
        self._scale(ask)
        return self._pass_of(*self._measured(ask)[:3])

    def together(self, asks: Sequence[Ask]) -> list[Pass] | None:
        """As `passed` of each, by one look at K. None where entries that were rounded to 0 would be missed in one of them."""
        found = self._measured_all(asks)
        faint = math.exp(-precision.SPAN[HALF if self.packed else self.kind])
        if any(float(faintest) < faint for _, _, _, faintest in found):
            return None
        return [
            Pass(log_mass) if isinstance(ask, Drawn) else self._pass_of(totals, top, log_mass)
            for ask, (totals, top, log_mass, _) in zip(asks, found, strict=True)
        ]

    def _pass_of(self, totals: Tensor, top: Tensor, log_mass: Tensor) -> Pass:
        def sums() -> Tensor:
            return self.scores.plan.total((totals.log() - self.row + top).masked_fill_(self.row.isinf(), 0))

        return Pass(log_mass, sums)

    def _measured(self, bias: Tensor) -> tuple[Tensor, ...]:
        """(N,) totals of this process's rows of K exp(b - top), 1 for others; top (): (M,) log p as above.

        And (1,) the least total, times the least mass: entries of K that were rounded to 0 count beside that. Nothing in it waits
        for a device, and no shape depends on values.
        """
        return self._measured_all([bias])[0]

    def _measured_all(self, asks: Sequence[Ask]) -> list[tuple[Tensor, ...]]:
        """As above; of what rows draw its logarithms for log p, and the least of them in K for the least total."""
        powers, tops = zip(*map(self._power, asks), strict=True)
        weights = [Drawn(power.exp()) if isinstance(ask, Drawn) else power.exp() for ask, power in zip(asks, powers, strict=True)]
        found: list[tuple[Tensor, ...]] = []
        for ask, power, top, (least, totals, mass) in zip(asks, powers, tops, self._passes(weights), strict=True):
            log_mass = mass.log() + top - self.scaling if isinstance(ask, Drawn) else mass.log() + power
            # made of sums and products alone, it is the same in every process, which must all go the same way
            found.append((totals, top, log_mass, least * mass.amin(0, keepdim=True).clamp_(max=1)))
        return found

    def _power(self, ask: Ask) -> tuple[Tensor, Tensor]:
        """Log weights of K's columns, of which the largest is 0, or of its rows, whose weights sum to 1; what was taken off."""
        if isinstance(ask, Drawn):
            power = ask.weights.log() - self.row
            top = self.scores.plan.log_total(power.logsumexp(0)[None])[0]
        else:
            power = ask - self.scaling
            top = power.max()
        return power - top, top

    def _passes(self, asks: Sequence[Ask]) -> list[tuple[Tensor, Tensor, Tensor]]:
        """As `Sweep.joined`, of K."""
        sweep = Sweep(asks, self.mass, self.column, self.kind, precision.TINY[self.kind])

        def work(mine: Iterator[slice]) -> list[Wide]:
            room = None if self.keep else self._spare()
            return sweep.over(mine, lambda rows: self._blocks(rows, room))

        return sweep.joined(self._over_strips(work), self.scores.plan)

    def _looked(self, weights: Tensor) -> Tensor:
        """(M,) log sum_i w_i exp(L_ij) from the scores, where these are too far apart for K."""

        def work(mine: Iterator[slice]) -> Tensor:
            room, drawn = self._spare(), torch.full_like(self.column, -torch.inf)
            for rows in mine:
                torch.logaddexp(drawn, log_sums(self._scored(rows, room), self.scale, weights[rows]), out=drawn)
            return drawn

        return self.scores.plan.log_total(torch.stack(self._over_strips(work)).logsumexp(0))

    def _blocks(self, rows: slice, room: Tensor | None) -> Iterator[tuple[Tensor, slice]]:
        """Blocks of a strip with the rows they are: small enough to stay in cache, and for sums of few addends."""
        strip = self.kept[rows.start] if room is None else self._scored(rows, room)
        for part in blocks(strip):
            there = slice(rows.start + part.start, rows.start + part.stop)
            block = strip[part] if room is None else self._made(strip[part], there, room[part])
            yield block.to(self.kind).div_(precision.LIFT) if self.packed else block, there

    def _spare(self) -> Tensor:
        return spare(self.strips, self.column, self.kind)

    def _scored(self, rows: slice, room: Tensor) -> Tensor:
        """The scores of a strip, in this room if they can be made there; else not to be written to."""
        return self.scores.strip(rows, room[: rows.stop - rows.start])

    def _made(self, scores: Tensor, rows: slice, room: Tensor) -> Tensor:
        """Their entries of K, in a room of its dtype, which may be that of the scores."""
        row, column, same = self.row[rows, None].to(scores.dtype), self.column.to(self.kind), scores.dtype == self.kind
        for part in parts(scores):
            rest = logits(scores[part], self.scale, self.taken, room[part] if same else None).add_(row[part])
            self._finished((rest if same else room[part].copy_(rest)).add_(column))
        return room

    def _finished(self, rest: Tensor) -> Tensor:
        return host.exp_(rest.clamp_(min=precision.FLOOR[self.kind]))

    def _scale(self, bias: Tensor) -> None:
        """Takes the maxima of the rows of L + b off, and those of the columns of the rest."""
        self.taken = bias if bool(bias.any()) else None
        self.kept.clear()
        plan, in_place = self.scores.plan, self.keep and not self.packed
        rooms = plan.attempt(lambda: apart(self.strips, self.column, self.kind)) if in_place else {}

        def work(mine: Iterator[slice]) -> Tensor:
            top = torch.full_like(self.column, -torch.inf)
            room = None if in_place else self._spare()
            for rows in mine:
                scores = self._scored(rows, rooms[rows.start] if room is None else room)
                best, rest = maxima(scores, self.scale, self.taken, rooms.get(rows.start))
                self.row[rows] = -best
                torch.maximum(top, rest, out=top)
            return top

        self.column = -plan.largest(torch.stack(self._over_strips(work)).amax(0))

        def kept(mine: Iterator[slice]) -> dict[int, Tensor]:
            if in_place:
                return {rows.start: self._finish(rooms[rows.start]) for rows in mine}
            room = self._spare()
            return {rows.start: self._pack(rows, room) for rows in mine}

        if self.keep:
            for part in self._over_strips(kept):
                self.kept.update(part)

    def _finish(self, rest: Tensor) -> Tensor:
        column = self.column.to(self.kind)
        for part in parts(rest):
            self._finished(rest[part].add_(column))
        return rest

    def _pack(self, rows: slice, room: Tensor) -> Tensor:
        scores = self._scored(rows, room)
        return self._made(scores, rows, room[: len(scores)]).mul_(precision.LIFT).to(HALF)

    def _over_strips(self, work: Callable[[Iterator[slice]], Any]) -> list[Any]:
        return self.scores.plan.share(work, self.strips)
