"""Small problems whose structure is known, and what the definitions say about them in plain numpy.

Letters: N queries, M items, B bank rows, D features, P relevant pairs. D is never a power of two.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.errors import NotAvailable
from nclbench.operators import operators
from nclbench.plan import Plan
from nclbench.problem import Embeddings, Problem, Relevance
from nclbench.protocols import Protocols
from nclbench.ranking.ranks import Ranking, rank
from nclbench.similarity.pairs import Bases
from nclbench.similarity.views import Views
from nclbench.tokens import Tokens

Matrix = npt.NDArray[Any]
ROLES = ("queries", "items", "query_bank", "item_bank")
PAIRS = (
    ("queries", "items"), ("query_bank", "items"), ("queries", "item_bank"),
    ("item_bank", "items"), ("queries", "query_bank"), ("query_bank", "item_bank"),
)  # fmt: skip
KEPT, STREAMED = 1 << 30, 1  # bytes for S: everything, nothing


def embeddings(kind: str, vectors: Matrix, **more: Any) -> Embeddings:
    return Embeddings(tuple(f"{kind}{row}" for row in range(len(vectors))), vectors, **more)


def of_vectors(queries: Matrix, items: Matrix, relevance: Relevance | None = None, **more: Any) -> Problem:
    """Query i belongs to item i unless said otherwise. more: fields of a Problem, banks as arrays."""
    for role, kind in (("query_bank", "qb"), ("item_bank", "vb")):
        if isinstance(more.get(role), np.ndarray):
            more[role] = embeddings(kind, more[role])
    relevance = relevance or Relevance.of_items(np.arange(len(queries)))
    return Problem(embeddings("q", queries), embeddings("v", items), relevance, **({"logit_scale": 12.0} | more))


def of_scores(scores: Matrix, relevance: Relevance | None = None, **more: Any) -> Problem:
    """From a score matrix alone. more: fields of a Problem; banks as their scores, `query_bank` (B, M) and so on."""
    n, m = scores.shape
    relevance = relevance or Relevance.of_items(np.arange(n))
    given: dict[tuple[str, str], Matrix] = {("queries", "items"): scores}
    sides: dict[str, Embeddings] = {}
    if "query_bank" in more:
        given["query_bank", "items"] = bank = more.pop("query_bank")
        sides["query_bank"] = Embeddings(tuple(f"qb{row}" for row in range(len(bank))))
    if "item_bank" in more:
        given["queries", "item_bank"] = bank = more.pop("item_bank")
        sides["item_bank"] = Embeddings(tuple(f"vb{row}" for row in range(bank.shape[1])))
    queries, items = (Embeddings(tuple(f"{k}{row}" for row in range(size))) for k, size in (("q", n), ("v", m)))
    return Problem(queries, items, relevance, scores=given, **({"logit_scale": 12.0} | sides | more))


def as_scores(problem: Problem, dtype: Any = np.float64) -> Problem:
    """The same problem as a stored matrix of its defined scores (and of those against its banks)."""
    pairs = [*PAIRS, ("items", "items"), ("queries", "queries")]
    known = [pair for pair in pairs if all(problem.role(role) is not None for role in pair)]
    stripped = {role: replace(side, vectors=None) for role in ROLES if (side := problem.role(role)) is not None}
    return replace(problem, **stripped, scores={pair: defined(problem, *pair).astype(dtype) for pair in known})


# ---------------------------------------------------------------------------------------------------- the problems


def hubs(n: int = 61, m: int = 61, d: int = 13, seed: int = 0, noise: float = 0.7, **more: Any) -> Problem:
    """Random floats; every seventh item leans towards the mean query, and so is near everything."""
    draw = np.random.default_rng(seed)
    centre = draw.normal(size=d)
    items = draw.normal(size=(m, d)) + 0.3 * centre
    items[::7] += 2.0 * centre
    queries = items[np.arange(n) % m] + noise * draw.normal(size=(n, d)) + 0.5 * centre
    relevance = more.pop("relevance", None) or Relevance.of_items(np.arange(n) % m)
    return of_vectors(queries.astype(np.float32), items.astype(np.float32), relevance, **more)


def repeated(n: int = 64, d: int = 11, seed: int = 1) -> Problem:
    """One to one, but only about a third of the items and half of the queries are different; float vectors."""
    draw = np.random.default_rng(seed)
    plain = hubs(n, n, d, seed)
    items, queries = plain.items.vectors[draw.integers(n // 3, size=n)], plain.queries.vectors
    queries = queries[draw.integers(n // 2, size=n)]
    return of_vectors(queries, items)


def ties(n: int = 57, m: int = 57, d: int = 6, seed: int = 2, scorer: str = "dot") -> Problem:
    """Vectors of -1, 0 and 1: nearly every score is shared by many items. Several items answer some queries."""
    draw = np.random.default_rng(seed)
    queries, items = (draw.integers(-1, 2, size=(size, d)).astype(np.float32) for size in (n, m))
    queries[~queries.any(axis=1)] = items[~items.any(axis=1)] = np.eye(1, d, dtype=np.float32)[0]
    scale = 1.0 if scorer == "dot" else 12.0
    relevance = Relevance.of_items(np.arange(n) % m)
    return of_vectors(queries, items, relevance, scorer=scorer, logit_scale=scale)


def constant(n: int = 24, d: int = 5) -> Problem:
    """Every score is the same."""
    row = np.linspace(0.1, 0.9, d, dtype=np.float32)
    return of_vectors(np.tile(row, (n, 1)), np.tile(row, (n, 1)))


def captions(m: int = 23, d: int = 9, seed: int = 3, duplicated: bool = True) -> Problem:
    """One to nine captions a video, in no order; some captions and some videos occur twice, as vectors."""
    draw = np.random.default_rng(seed)
    owner = draw.permutation(np.repeat(np.arange(m), draw.integers(1, 10, size=m)))
    items = draw.normal(size=(m, d)).astype(np.float32)
    queries = (items[owner] + 0.8 * draw.normal(size=(len(owner), d))).astype(np.float32)
    if duplicated:
        items[m // 2 : m // 2 + 3] = items[:3]
        twins = np.arange(1, len(queries), 5)
        queries[twins - 1] = queries[twins]
    return of_vectors(queries, items, Relevance.of_items(owner))


def graded(n: int = 41, m: int = 29, d: int = 7, seed: int = 4) -> Problem:
    """Rectangular; a query has up to four items with different gains, some queries and items have none."""
    draw = np.random.default_rng(seed)
    plain = hubs(n, m, d, seed)
    pairs = sorted({(int(q), int(v)) for q, v in draw.integers((n, m), size=(2 * n, 2)) if q % 9})
    query, item = np.array(pairs).T
    return replace(plain, relevance=Relevance.of(query, item, draw.integers(1, 4, size=len(query)).astype(float)))


def with_banks(n: int = 37, m: int = 45, d: int = 10, seed: int = 5, rows: tuple[int, int] = (83, 71)) -> Problem:
    """A query bank and an item bank of other sizes than the test sides."""
    bank = hubs(rows[0], rows[1], d, seed + 100)
    found = hubs(n, m, d, seed)
    bank_q, bank_v = bank.queries.vectors, bank.items.vectors
    return replace(found, query_bank=embeddings("qb", bank_q), item_bank=embeddings("vb", bank_v))


def with_tokens(n: int = 37, m: int = 31, d: int = 7, seed: int = 6, bank: bool = False, scorer: str = "dmae") -> Problem:
    """Words with weights and frames under DMAE. Some texts and videos occur twice, some frames twice in a video."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(m, d))

    def side(kind: str, of: Matrix, most: int, noise: float) -> Embeddings:
        size = len(of)
        values = (of[:, None] + noise * draw.normal(size=(size, most, d))).astype(np.float32)
        mask = np.arange(most) < draw.integers(1, most + 1, size=size)[:, None]
        mask[:4] = True
        weight = draw.integers(1, 3, size=mask.shape).astype(np.float64)
        if kind.startswith("v"):
            values[::3, 1] = values[::3, 0]
        twin = np.arange(1, size, 6)
        values[twin - 1], mask[twin - 1], weight[twin - 1] = values[twin], mask[twin], weight[twin]
        vectors = np.where(mask[:, :, None], values, 0).sum(1).astype(np.float32)
        return embeddings(kind, vectors, tokens=Tokens(values, mask, None if kind.startswith("v") else weight))

    owner = np.arange(n) % m
    found = Problem(side("q", centres[owner], 5, 1.0), side("v", centres, 4, 0.7), Relevance.of_items(owner),
                    scorer=scorer, logit_scale=12.0)  # fmt: skip
    if not bank:
        return found
    bank_q, bank_v = side("qb", draw.normal(size=(43, d)), 5, 1.0), side("vb", centres[:29] + 0.3, 4, 1.0)
    return replace(found, query_bank=bank_q, item_bank=bank_v)


LAWFUL: dict[str, Callable[[], Problem]] = {
    "hubs": hubs,
    "repeated": repeated,
    "ties-dot": ties,
    "ties-cosine": lambda: ties(n=70, m=33, scorer="cosine"),
    "constant": constant,
    "captions": captions,
    "graded": graded,
    "banks": with_banks,
    "tokens": with_tokens,
    "tokens-banks": lambda: with_tokens(bank=True),
    "hubs-scores-64": lambda: as_scores(hubs()),
    "repeated-scores-64": lambda: as_scores(repeated()),
    "ties-scores-32": lambda: as_scores(ties(n=66, m=45), np.float32),
    "captions-scores-32": lambda: as_scores(captions(), np.float32),
    "banks-scores-64": lambda: as_scores(with_banks()),
}


# ----------------------------------------------------------------------------------------- changed without a change


def permuted(problem: Problem, queries: Matrix | None = None, items: Matrix | None = None) -> Problem:
    """The same problem with its rows in another order; ids go along."""
    given = {"queries": (queries, len(problem.queries)), "items": (items, len(problem.items))}
    orders = {role: np.arange(count) if order is None else order for role, (order, count) in given.items()}
    place = {role: np.argsort(order) for role, order in orders.items()}
    scores = {}
    for (rows, columns), matrix in problem.scores.items():
        matrix = matrix[orders[rows]] if rows in orders else matrix
        scores[rows, columns] = matrix[:, orders[columns]] if columns in orders else matrix
    sides = {role: _in_order(problem.role(role), order) for role, order in orders.items()}
    pairs = problem.relevance
    relevance = Relevance.of(place["queries"][pairs.query], place["items"][pairs.item], pairs.gain)
    return replace(problem, **sides, relevance=relevance, scores=scores)


def _in_order(side: Embeddings, order: Matrix) -> Embeddings:
    return Embeddings(
        tuple(side.ids[row] for row in order),
        vectors=None if side.vectors is None else side.vectors[order],
        weight=None if side.weight is None else side.weight[order],
        tokens=None if side.tokens is None else side.tokens.rows(order),
    )


def arrays(problem: Problem) -> Iterator[tuple[str, Matrix]]:
    """Every array that a problem holds."""
    for role in ROLES:
        side = problem.role(role)
        for name in ("vectors", "weight"):
            found = None if side is None else getattr(side, name)
            if found is not None:
                yield f"{role}.{name}", found
        if side is not None and side.tokens is not None:
            for name in ("values", "mask", "weight"):
                found = getattr(side.tokens, name)
                if found is not None:
                    yield f"{role}.tokens.{name}", found
    for pair, matrix in problem.scores.items():
        yield "/".join(pair), matrix
    if problem.relevance is not None:
        for name in ("query", "item", "gain"):
            yield f"relevance.{name}", getattr(problem.relevance, name)


# ------------------------------------------------------------------------------------- what the definitions say


def folded(products: Matrix) -> Matrix:
    """(..., D) -> (...): the upper part is added onto the lower power of two of them, until one is left."""
    while products.shape[-1] > 1:
        half = 1
        while 2 * half < products.shape[-1]:
            half *= 2
        rest = products[..., half:]
        products = products[..., :half].copy()
        products[..., : rest.shape[-1]] += rest
    return products[..., 0]


def prepared(vectors: Matrix, scorer: str = "cosine") -> Matrix:
    """(N, D) float32 rows, of length one for cosine."""
    if scorer == "dot":
        return vectors.astype(np.float32)
    rows = vectors.astype(np.float64)
    rows = rows / np.abs(rows).max(axis=1, keepdims=True)
    return (rows / np.sqrt(folded(rows * rows))[:, None]).astype(np.float32)


def defined(problem: Problem, rows: str = "queries", columns: str = "items") -> Matrix:
    """(N, M) float64: the score of every pair by its definition."""
    if (rows, columns) in problem.scores:
        return problem.scores[rows, columns].astype(np.float64)
    if problem.scorer == "dmae":
        return attended(problem.role(rows), problem.role(columns))
    q, v = (prepared(problem.role(role).vectors, problem.scorer).astype(np.float64) for role in (rows, columns))
    return np.stack([folded(row * v) for row in q])


def on_grid(vectors: Matrix) -> Matrix:
    """(..., D) float64 of length one, multiples of 2^-26 that float32 can hold."""
    rows = vectors.astype(np.float64)
    rows = rows / np.abs(rows).max(axis=-1, keepdims=True)
    rows = rows / np.sqrt(folded(rows * rows))[..., None]
    return (np.rint(rows * 2.0**26) / 2.0**26).astype(np.float32).astype(np.float64)


def attended(texts: Embeddings, videos: Embeddings) -> Matrix:
    """(N, M) float64 to the bit: DMAE with its default parameters and given word weights, pair by pair."""
    out = np.empty((len(texts), len(videos)))
    for j in range(len(videos)):
        frames = on_grid(videos.tokens.values[j][videos.tokens.mask[j]])
        gram = frames @ frames.T
        np.fill_diagonal(gram, 0.0)
        near, likeness = gram.argmax(1), gram.max(1)
        first = [min(k for k in range(len(frames)) if (frames[k] == frame).all()) for frame in frames]
        kept = sorted(set(first))
        share = np.array([sum(1 / len(frames) for k in first if k == one) for one in kept])
        for i in range(len(texts)):
            mask = texts.tokens.mask[i]
            weight = texts.tokens.weight[i] * mask
            a = np.concatenate([[0.5 * 0.5], 0.5 * (0.5 * (weight / folded(weight.copy()))[mask])])
            words = on_grid(np.concatenate([texts.vectors[i][None].astype(np.float64), texts.tokens.values[i][mask]]))
            s = words @ frames.T
            best = s.argmax(1)
            number = np.arange(len(s))
            p = s[number, best] + 0.5 * likeness[best] * s[number, near[best]] * (likeness[best] > 0)
            top = (0.25 * s[0] + 0.25 * s[1:].max(0))[kept]
            out[i, j] = folded(a * p) + folded(top * share)
    return out


def counted(scores: Matrix, query: Matrix, item: Matrix, tolerance: float = 0.0) -> tuple[Matrix, Matrix]:
    """above, tied (P,) by comparing each pair with every *other* item of its row."""
    above, tied = [], []
    for q, i in zip(query.tolist(), item.tolist(), strict=True):
        difference = np.delete(scores[q], i) - scores[q, i]
        above.append(int((difference > tolerance).sum()))
        tied.append(int((np.abs(difference) <= tolerance).sum()))
    return np.array(above), np.array(tied)


def leading(scores: Matrix, k: int) -> Matrix:
    """(N, K): a full sort of every row by falling score, then by index."""
    index = np.arange(scores.shape[1])
    return np.stack([np.lexsort((index, -row))[:k] for row in scores])


# ------------------------------------------------------------------------------------------------ the real thing


@dataclass(frozen=True)
class Found:
    """The integers of one (direction, protocol, spec), or why there are none."""

    ranking: Ranking | None
    bias: Matrix | None
    why: str = ""
    shift: bool = False

    def integers(self) -> dict[str, Matrix]:
        if self.ranking is None:
            return {"why": np.array(self.why)}
        names = ("query", "item", "gain", "above", "tied", "top")
        return {n: part for n in names if (part := getattr(self.ranking, n)) is not None}


def integers(problem: Problem, specs: list[str], plan: Plan, top: int = 10) -> dict[tuple[str, str, str], Found]:
    """Every spec in both directions and all protocols, ranked in one pass as `evaluate` does it."""
    protocols = Protocols.of(problem)
    bases = Bases(protocols.problem, plan)
    keys, found, requests = [], [], []
    for reverse in (False, True):
        for spec in specs:
            views = Views(bases, reverse)
            try:
                fitted, why = operators.parse(spec).learn(views), ""
            except NotAvailable as reason:
                fitted, why = None, str(reason)
            for protocol in protocols.names(reverse):
                keys.append(("v2t" if reverse else "t2v", protocol, spec))
                bias = None if fitted is None or fitted.map is None else fitted.map.bias_values
                shift = fitted is not None and fitted.map is not None and fitted.map.shift
                found.append(Found(None, bias, why, shift))
                if fitted is not None:
                    seen = views.through(fitted.map, fitted.moved)
                    requests.append(protocols.request(protocol, seen, reverse, top))
    rankings = iter(rank(requests))
    ranked = [each if each.why else replace(each, ranking=next(rankings)) for each in found]
    return dict(zip(keys, ranked, strict=True))


def differences(a: dict[Any, Found], b: dict[Any, Found]) -> list[str]:
    """Which integers of the two are not identical; every name must be there in both."""
    out = [] if a.keys() == b.keys() else [f"runs {sorted(a.keys() ^ b.keys())}"]
    for key in a.keys() & b.keys():
        one, other = a[key].integers(), b[key].integers()
        if one.keys() != other.keys():
            out.append(f"{key}: {sorted(one.keys() ^ other.keys())}")
        for name in one.keys() & other.keys():
            if not np.array_equal(one[name], other[name]):
                out.append(f"{key}: {name} differs in {np.mean(one[name] != other[name]):.1%}")
    return sorted(out)


# Default parameters of every registered operator, and a few specs of those that are known to have more than one way
# to go. A new operator is picked up without any edit; one with required parameters needs a spec here.
MORE_SPECS = {
    "sinkhorn": (
        "sinkhorn:iters=0",
        "sinkhorn:tau=0.1,iters=3,start=query",
        "sinkhorn:fit=test,tol=0.001",
        "sinkhorn:fit=bank,tau=0.02,iters=2",
    ),
    "is": ("is:tau=0.1,fit=test", "is:tau=0.02,fit=bank"),
    "csls": ("csls:k=3,fit=test", "csls:k=1000,fit=bank"),
    "dis": ("dis:tau=0.1,k=2,fit=test", "dis:tau=0.05,theta=3", "dis:k=0,fit=test"),
    "dualis": ("dualis:tau1=0.02,tau2=0.015,additive=0.01",),
    "dualdis": ("dualdis:tau1=0.05,k=2",),
    "dsl": ("dsl:tau=0.1,fit=test", "dsl:tau=1,over=items"),
    "ls": ("ls:k=3,fit=test",),
    "nicdm": ("nicdm:k=3,fit=test",),
    "mp": ("mp:k=7,fit=test",),
    "dissim": ("dissim:kind=local,k=4",),
    "invgc": ("invgc:local=false,r_query=0.5", "invgc:pool=0.1"),
    "dbsn": ("dbsn:tau=0.1,iters=3,start=query",),
}
# what must be given on problems this small
REQUIRED: dict[str, str] = {"nnn": "nnn:k=5", "biases": "biases:file=b.npy"}


def specs() -> list[str]:
    # what is read from a file has its tests in test_deploy
    names = [name for name in operators.names() if operators.get(name).fits_on != "a file"]
    return [REQUIRED.get(name, name) for name in names] + [spec for name in names for spec in MORE_SPECS.get(name, ())]
