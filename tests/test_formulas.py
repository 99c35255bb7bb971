"""Every operator against its paper's formula in plain numpy, at its extremes, and what the formulas say must not matter.

Formulas are written as published, with exp in extended precision. S (N, M): test scores; P (B, M): query bank against
items; R (G, M): item bank against items; Q (B, G): query bank against item bank.
"""

from collections.abc import Callable
from math import erfc

import factories
import numpy as np
import pytest
from factories import arrays, embeddings, of_vectors
from test_golden import Matrix, adjusted, discordant, same_rows, unit

from nclbench import evaluate
from nclbench.errors import NotAvailable
from nclbench.operators import operators
from nclbench.plan import Plan
from nclbench.problem import Problem, Relevance
from nclbench.similarity.pairs import Bases
from nclbench.similarity.views import Views

pytestmark = pytest.mark.usefixtures("one_thread")


SIZES = {
    "wide": {"queries": 17, "items": 26, "query_bank": 31, "item_bank": 22},
    "tall": {"queries": 33, "items": 14, "query_bank": 12, "item_bank": 40},
}
KINDS: dict[str, Callable[[Matrix], Matrix]] = {
    "cosines": lambda x: x,
    "positive": lambda x: 0.55 + 0.44 * x,
    "tied": lambda x: np.round(8 * x) / 8,
}


def of_pairs(pair: Callable[[int, int], Matrix], size: dict[str, int], **more: object) -> Problem:
    """A problem from ready scores of all pairs of roles."""
    sides = {role: embeddings(role, np.zeros((count, 0))) for role, count in size.items()}
    sides = {role: type(side)(side.ids) for role, side in sides.items()}
    scores = {(r, c): pair(n, m) for r, n in size.items() for c, m in size.items()}
    relevance = Relevance.of_items(np.arange(size["queries"]) % size["items"])
    queries, items = sides.pop("queries"), sides.pop("items")
    return Problem(queries, items, relevance, scores=scores, **sides, **more)


def drawn(size: str, kind: str, seed: int = 0) -> Problem:
    """Scores of independent rows and columns with a lean towards some items, as hubs have it."""
    draw = np.random.default_rng(seed)
    return of_pairs(
        lambda n, m: KINDS[kind](np.clip(draw.uniform(-0.8, 0.8, (n, m)) + draw.uniform(-0.19, 0.19, m), -0.99, 0.99)),
        SIZES[size],
    )


def scores_of(problem: Problem, reverse: bool) -> tuple[Matrix, Matrix, Matrix, Matrix]:
    """S, P, R, Q of a direction, in extended precision."""
    given = problem.reversed().scores if reverse else problem.scores
    pairs = (("queries", "items"), ("query_bank", "items"), ("item_bank", "items"), ("query_bank", "item_bank"))
    S, P, R, Q = (given[pair].astype(np.longdouble) for pair in pairs)
    return S, P, R, Q


def down(x: Matrix, k: int) -> Matrix:
    """The k largest of each column, or all of a shorter one."""
    return np.sort(x, axis=0)[::-1][:k]


def active(bank: Matrix, k: int, theta: int = 1) -> Matrix:
    """(M,) items among the k best of at least theta rows; ties for the last place count."""
    bars = -np.sort(-bank, axis=1)[:, k - 1 : k]
    return (bank >= bars).sum(0) >= theta


def gated(S: Matrix, bank: Matrix, k: int, theta: int = 1) -> Matrix:
    """(N,) whether a best item of the row is active."""
    return ((S.max(1, keepdims=True) == S) & active(bank, k, theta)).any(1)


def ratio(S: Matrix, bank: Matrix, tau: float) -> Matrix:
    return np.exp(S / tau) / np.exp(bank / tau).sum(0)


# ------------------------------------------------------------------------------------ formulas that we follow exactly


def sinkhorn_factor(L: Matrix, tau: float, iters: int, start: str) -> Matrix:
    """Rows of L are queries. The factors u (items) and w (queries) of exp(L / tau) with uniform marginals."""
    K = np.exp(L / tau)
    n, m = K.shape
    u = (1 / m) / (K.T @ np.full(n, 1 / n, dtype=K.dtype)) if start == "gallery" else np.full(m, 1 / m, dtype=K.dtype)
    for _ in range(iters):
        w = (1 / n) / (K @ u)
        u = (1 / m) / (K.T @ w)
    return u


def local_centres(vectors: Matrix, near: Matrix, k: int) -> Matrix:
    """(n, D): the mean of the k nearest of `vectors`; near: (n, M) likeness."""
    return vectors[np.argsort(-near, axis=1, kind="stable")[:, :k]].mean(1)


def banked(S: Matrix, P: Matrix, fit: str) -> Matrix:
    return P if fit == "bank" else S


EXACT: dict[str, Callable[[Matrix, Matrix, Matrix, Matrix, str], Matrix]] = {
    "none": lambda S, P, R, Q, fit: S,
    "is:tau=0.03": lambda S, P, R, Q, fit: 0.03 * np.log(ratio(S, banked(S, P, fit), 0.03)),
    "is:tau=2": lambda S, P, R, Q, fit: 2 * np.log(ratio(S, banked(S, P, fit), 2)),
    "is:tau=0.001": lambda S, P, R, Q, fit: 0.001 * np.log(ratio(S, banked(S, P, fit), 0.001)),
    "csls:k=4": lambda S, P, R, Q, fit: 2 * S - down(S.T, 4).mean(0)[:, None] - down(banked(S, P, fit), 4).mean(0),
    "csls:k=1000": lambda S, P, R, Q, fit: 2 * S - S.mean(1)[:, None] - banked(S, P, fit).mean(0),
    "sinkhorn:tau=0.02,iters=3": lambda S, P, R, Q, fit: (
        S + 0.02 * np.log(sinkhorn_factor(banked(S, P, fit), 0.02, 3, "gallery"))
    ),
    "sinkhorn:tau=0.1,iters=6,start=query": lambda S, P, R, Q, fit: (
        S + 0.1 * np.log(sinkhorn_factor(banked(S, P, fit), 0.1, 6, "query"))
    ),
}
BANKED: dict[str, Callable[[Matrix, Matrix, Matrix, Matrix], Matrix]] = {
    "nnn:k=5,alpha=0.6": lambda S, P, R, Q: S - 0.6 * down(P, 5).mean(0),
    "nnn:k=12,alpha=1": lambda S, P, R, Q: S - down(P, 12).mean(0),
    "dn:lam=0.7": lambda S, P, R, Q: S - 0.7 * P.mean(0),
    "dualis:tau1=0.05,tau2=0.4": lambda S, P, R, Q: np.log(ratio(S, P, 0.05) * ratio(S, R, 0.4)) / (20 + 2.5),
    "dualis:tau1=0.05,tau2=0.02,additive=0.3": lambda S, P, R, Q: (
        S - 0.05 * np.log(np.exp(P / 0.05).sum(0)) - 0.3 * 0.02 * np.log(np.exp(R / 0.02).sum(0))
    ),
    "dbsn:tau=0.03,iters=4": lambda S, P, R, Q: (
        S + 0.03 * np.log(sinkhorn_factor(np.hstack([P, Q]), 0.03, 4, "gallery"))[: S.shape[1]]
    ),
    "dbsn:tau=0.1,iters=2,start=query": lambda S, P, R, Q: (
        S + 0.1 * np.log(sinkhorn_factor(np.hstack([P, Q]), 0.1, 2, "query"))[: S.shape[1]]
    ),
}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_additive_formulas(size: str, kind: str, reverse: bool) -> None:
    problem = drawn(size, kind)
    given = scores_of(problem, reverse)
    for spec, formula in EXACT.items():
        for fit in ("bank", "test"):
            named = f"{spec}{',' if ':' in spec else ':'}fit={fit}" if spec != "none" else spec
            same_rows(adjusted(problem, named, reverse), formula(*given, fit).astype(float), 1e-12)
    for spec, banked_formula in BANKED.items():
        same_rows(adjusted(problem, spec, reverse), banked_formula(*given).astype(float), 1e-12)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_gates(size: str, kind: str, reverse: bool) -> None:
    problem = drawn(size, kind)
    S, P, R, _ = scores_of(problem, reverse)
    seen = set()
    for fit in ("bank", "test"):
        for k, theta in ((1, 1), (2, 1), (1, 3), (1, 1000)):
            gate = gated(S, banked(S, P, fit), k, theta)
            seen |= set(gate.tolist())
            ours = adjusted(problem, f"dis:tau=0.05,k={k},theta={theta},fit={fit}", reverse)
            expected = np.where(gate[:, None], 0.05 * np.log(ratio(S, banked(S, P, fit), 0.05)), S).astype(float)
            same_rows(ours, expected, 1e-12)
            np.testing.assert_array_equal(ours[~gate], S[~gate].astype(float))
    assert seen == {True, False}
    for k in (0, 1, 2):
        factors = [
            np.where((gated(S, bank, k) if k else np.zeros(len(S), dtype=bool))[:, None], ratio(S, bank, tau), S)
            for bank, tau in ((P, 0.05), (R, 0.5))
        ]
        product = factors[0] * factors[1]
        ours = adjusted(problem, f"dualdis:tau1=0.05,tau2=0.5,k={k}", reverse)
        there = product != 0
        np.testing.assert_array_equal(np.sign(ours), np.sign(product).astype(float))
        height = np.abs(ours[there]) - np.log(np.abs(product[there])).astype(float)
        np.testing.assert_allclose(height, height[0], rtol=1e-12)


# ------------------------------------------------------------------------------------ formulas that we order alike


def upper(z: Matrix) -> Matrix:
    """P(X > z) of a standard normal."""
    return np.vectorize(lambda x: 0.5 * erfc(x / 2**0.5))(z.astype(float))


def proximity(S: Matrix, F: Matrix, k: int) -> Matrix:
    D, E = 1 - S, 1 - F
    near_i, near_j = np.sort(D, axis=1)[:, : k or None], np.sort(E, axis=0)[: k or None]
    least = 1e-7 * np.abs(S).max()  # hub-toolbox: where all k are equally far
    at_i = (D - near_i.mean(1, keepdims=True)) / np.maximum(near_i.std(1, keepdims=True), least)
    at_j = (D - near_j.mean(0)) / np.maximum(near_j.std(0), least)
    found: Matrix = upper(at_i) * upper(at_j)
    return found


def radius(D: Matrix, k: int, axis: int) -> Matrix:
    return np.take(np.sort(D, axis=axis), [min(k, D.shape[axis]) - 1], axis=axis)


def mean_radius(D: Matrix, k: int, axis: int) -> Matrix:
    near = np.sort(D, axis=axis)
    return (near[:, :k] if axis else near[:k]).mean(axis, keepdims=True)


ORDERED: dict[str, Callable[[Matrix, Matrix], Matrix]] = {
    "dsl:tau=0.05": lambda S, F: S * np.exp(S / 0.05) / np.exp(F / 0.05).sum(0),
    "dsl:tau=1": lambda S, F: S * np.exp(S) / np.exp(F).sum(0) * len(F),
    "dsl:tau=0.002": lambda S, F: S * np.exp(S / 0.002) / np.exp(F / 0.002).sum(0),
    "dsl:tau=0.1,over=items": lambda S, F: S * np.exp(S / 0.1) / np.exp(S / 0.1).sum(1, keepdims=True),
    "ls:k=3": lambda S, F: np.exp(-((1 - S) ** 2) / (radius(1 - S, 3, 1) * radius(1 - F, 3, 0))),
    "ls:k=1000": lambda S, F: np.exp(-((1 - S) ** 2) / (radius(1 - S, 1000, 1) * radius(1 - F, 1000, 0))),
    "nicdm:k=3": lambda S, F: -(1 - S) / np.sqrt(mean_radius(1 - S, 3, 1) * mean_radius(1 - F, 3, 0)),
    "mp": lambda S, F: proximity(S, F, 0),
    "mp:k=6": lambda S, F: proximity(S, F, 6),
}


VALUES: dict[str, Callable[[Matrix], Matrix]] = {  # back from the stand-in to the formula
    "ls:k=3": lambda x: np.exp(-np.exp(-2 * x)),
    "ls:k=1000": lambda x: np.exp(-np.exp(-2 * x)),
    "nicdm:k=3": lambda x: -np.exp(-x),
}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_formulas_with_a_stand_in_order_alike(size: str, kind: str, reverse: bool) -> None:
    problem = drawn(size, kind)
    S, P, *_ = scores_of(problem, reverse)
    for spec, formula in ORDERED.items():
        for fit in ("bank", "test"):
            given = "" if "over=items" in spec else f"{',' if ':' in spec else ':'}fit={fit}"
            ours = adjusted(problem, f"{spec}{given}", reverse)
            wrong, compared = discordant(ours, formula(S, banked(S, P, fit)), 1e-11)
            assert wrong == 0 and compared > (0.5 if kind == "tied" else 0.95), (spec, fit)
            if spec in VALUES:
                np.testing.assert_allclose(VALUES[spec](ours), formula(S, banked(S, P, fit)).astype(float), rtol=1e-9, atol=2e-5)
    rank = (S[None] > S[:, None]).sum(1)  # (N, M) how many queries the item scores above this one
    ours = adjusted(problem, "gc", reverse)
    np.testing.assert_allclose(ours, (S - rank).astype(float), rtol=0, atol=1e-12)


def test_equal_scores_stay_equal() -> None:
    """Items that a formula cannot tell apart must tie under its stand-in too."""
    problem = drawn("wide", "cosines")
    twins = np.array([0, 1, 2, 0, 1, 2, *range(6, 26)])
    order = {"items": twins}
    scores = {
        (r, c): matrix[np.ix_(*(order.get(role, np.arange(size)) for role, size in zip((r, c), matrix.shape, strict=True)))]
        for (r, c), matrix in problem.scores.items()
    }
    twice = Problem(problem.queries, problem.items, None, problem.query_bank, problem.item_bank, scores=scores)
    for spec in SPECS:
        try:
            ours = adjusted(twice, spec)
        except NotAvailable:
            continue
        np.testing.assert_allclose(ours[:, 3:6], ours[:, :3], rtol=0, atol=1e-9, err_msg=spec)


# ------------------------------------------------------------------------------------------------ vectors


@pytest.mark.parametrize("reverse", [False, True])
def test_formulas_of_vectors(reverse: bool) -> None:
    problem = factories.with_banks(23, 31, 10, rows=(57, 41))
    seen = problem.reversed() if reverse else problem
    q, v, b, g = (
        factories.prepared(seen.role(role).vectors).astype(float) for role in ("queries", "items", "query_bank", "item_bank")
    )
    distance = ((q[:, None] - v) ** 2).sum(2)

    def centred(of_query: Matrix, of_item: Matrix) -> Matrix:
        own = ((q - of_query) ** 2).sum(1)[:, None] + ((v - of_item) ** 2).sum(1)
        return -(distance - own) / 2

    same_rows(adjusted(problem, "dissim", reverse), centred(v.mean(0), v.mean(0)), 1e-9)
    for k in (1, 4, 10):
        expected = centred(local_centres(v, q @ v.T, k), local_centres(v, v @ v.T, k))
        same_rows(adjusted(problem, f"dissim:kind=local,k={k}", reverse), expected, 1e-9)
    dn = (q - 0.5 * b.mean(0)) @ (v - 0.5 * g.mean(0)).T
    same_rows(adjusted(problem, "dn:lam=0.5", reverse), dn, 1e-9)

    def away(bank: Matrix, r: float) -> Matrix:
        like = v @ bank.T
        return unit(v - r / len(bank) * (like - like.mean()) @ bank)

    def locally(bank: Matrix, r: float, pool: float) -> Matrix:
        like, near = v @ bank.T, int(pool * len(bank))
        chosen = np.argsort(-like, axis=1)[:, :near]
        push = [(like[j, each][:, None] * bank[each]).sum(0) / near for j, each in enumerate(chosen)]
        return unit(v - r * np.array(push))

    for r_gallery, r_query in ((1.0, 1.0), (0.3, 2.0)):
        rates = f"r_gallery={r_gallery},r_query={r_query}"
        moved = unit(away(g, r_gallery) + away(b, r_query))
        np.testing.assert_allclose(adjusted(problem, f"invgc:{rates},local=false", reverse), q @ moved.T, atol=1e-6)
        moved = unit(locally(g, r_gallery, 0.1) + locally(b, r_query, 0.1))
        np.testing.assert_allclose(adjusted(problem, f"invgc:{rates},pool=0.1", reverse), q @ moved.T, atol=1e-6)


def test_neighbours_that_tie_for_the_last_place_share_it() -> None:
    """Three items at the same distance from the first, and room for two: each counts two thirds."""
    angles = np.eye(4) * 0.6 + np.array([0.8, 0, 0, 0])  # item 0 is the axis, the others lean away from it alike
    v = unit(np.vstack([[1.0, 0, 0, 0], angles[1:]])).astype(np.float32)
    problem = of_vectors(v, v)
    centre = (v[0] + 2 / 3 * v[1:].sum(0)) / 3
    bias = ((v[0] - centre) ** 2).sum() / 2
    ours = adjusted(problem, "dissim:kind=local,k=3")
    centre = (v[1] + v[0] + (v[2] + v[3]) / 2) / 3  # from item 1, two others tie for one place
    other = ((v[1] - centre) ** 2).sum() / 2
    assert ours[0, 0] - ours[0, 1] == pytest.approx(float(1 - v[0] @ v[1] + bias - other), abs=1e-6)


def test_an_item_that_is_in_its_bank_is_not_moved_by_rounding() -> None:
    """v - <v, v> v is nothing: what is left must not be v or -v as the rounding of its length will have it."""
    draw = np.random.default_rng(3)
    v, b = draw.normal(size=(40, 12)).astype(np.float32), draw.normal(size=(50, 12)).astype(np.float32)
    try:
        ours = adjusted(of_vectors(v, v, query_bank=b, item_bank=v), "invgc:r_query=0")
    except NotAvailable:  # an honest answer
        return
    assert np.isfinite(ours).all()
    np.testing.assert_allclose(np.diag(ours), ours[0, 0], atol=1e-3)  # what happens to one item happens to all


# ------------------------------------------------------------------------------------------------ extremes

SPECS = [spec for spec in factories.specs() if spec.partition(":")[0] not in ("biases", "nnn")] + ["nnn:k=1"]
TAUS = [
    f"{name}:{more}tau={tau}"
    for name, more in (
        ("is", ""), ("dis", ""), ("dsl", ""), ("dsl", "over=items,"), ("sinkhorn", "iters=20,"),
        ("dbsn", "max_iters=20,"),
    )
    for tau in (1e-4, 1e-3, 0.01, 0.1, 1, 10)
] + [f"{name}:tau1={one},tau2={other}" for name in ("dualis", "dualdis") for one, other in ((1e-4, 10), (1, 1e-4))]  # fmt: skip
PLAIN = {"queries": 11, "items": 9, "query_bank": 14, "item_bank": 12}


def _uniform(n: int, m: int) -> Matrix:
    return np.random.default_rng(n * 100 + m).uniform(-1, 1, (n, m))


EXTREMES: dict[str, tuple[Callable[[int, int], Matrix], dict[str, int]]] = {
    "cosines": (_uniform, {}),
    "all of the range": (lambda n, m: np.sign(_uniform(n, m)), {}),
    "logits x 100": (lambda n, m: 100 * _uniform(n, m), {}),
    "logits x 1e4": (lambda n, m: 1e4 * _uniform(n, m), {}),
    "tiny": (lambda n, m: 1e-6 * _uniform(n, m), {}),
    "constant": (lambda n, m: np.full((n, m), 0.3), {}),
    "constant -1": (lambda n, m: np.full((n, m), -1.0), {}),
    "constant 1": (lambda n, m: np.full((n, m), 1.0), {}),
    "constant 0": (lambda n, m: np.zeros((n, m)), {}),
    "all items alike": (lambda n, m: np.tile(_uniform(n, 1), m), {}),
    "all queries alike": (lambda n, m: np.tile(_uniform(1, m), (n, 1)), {}),
    "one query": (_uniform, {"queries": 1}),
    "one item": (_uniform, {"items": 1}),
    "banks of one row": (_uniform, {"query_bank": 1, "item_bank": 1}),
    "one of each": (_uniform, dict.fromkeys(PLAIN, 1)),
}


@pytest.mark.parametrize("name", EXTREMES)
def test_extremes_give_numbers_and_leave_the_input_alone(name: str) -> None:
    pair, size = EXTREMES[name]
    problem = of_pairs(lambda n, m: pair(n, m).astype(np.float32), PLAIN | size, logit_scale=50.0)
    before = [(what, values.copy(), values.dtype) for what, values in arrays(problem)]
    logits = name.startswith("logits")
    for spec in SPECS + TAUS:
        # distances are 1 - s of cosines; vectors are not there
        refused = spec.partition(":")[0] in (("ls", "nicdm", "invgc") if logits else ("invgc",)) or "kind=local" in spec
        for reverse in (False, True):
            if refused:
                with pytest.raises(NotAvailable):
                    adjusted(problem, spec, reverse)
            else:
                assert np.isfinite(adjusted(problem, spec, reverse)).all(), spec
    found = evaluate(problem, SPECS, metrics=["R@1", "MnR"])
    for run in found.runs:
        assert (run.metrics == {}) == (run.operator.unavailable is not None)
        assert all(np.isfinite(value.value) for value in run.metrics.values()), run.operator.spec
    for (what, values, dtype), (_, now) in zip(before, arrays(problem), strict=True):
        assert now.dtype == dtype and np.array_equal(now, values), what


@pytest.mark.parametrize("copies", [2, 6])
def test_duplicated_vectors_give_numbers(copies: int) -> None:
    plain = factories.with_banks(12, 12, 7, rows=(20, 18))
    many = {role: np.repeat(plain.role(role).vectors, copies, axis=0) for role in factories.ROLES}
    problem = of_vectors(many["queries"], many["items"], query_bank=many["query_bank"], item_bank=many["item_bank"])
    before = [values.copy() for _, values in arrays(problem)]
    for spec in SPECS:
        for reverse in (False, True):
            ours = adjusted(problem, spec, reverse)
            assert np.isfinite(ours).all(), spec
            np.testing.assert_allclose(ours[:, ::copies], ours[:, copies - 1 :: copies], atol=1e-6, err_msg=spec)
    assert all(np.array_equal(now, values) for (_, now), values in zip(arrays(problem), before, strict=True))


# ------------------------------------------------------------------------------------- what must not matter

UNMOVED = ("none", "is", "dis", "sinkhorn", "dbsn", "csls", "nnn", "dn", "dualis", "dissim", "mp", "gc")


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_a_number_added_to_all_scores_changes_no_order(size: str, reverse: bool) -> None:
    """By formula: all but those that multiply (dsl, dualdis), divide distances (ls, nicdm) or move vectors."""
    problem = drawn(size, "cosines")
    shifted = {pair: matrix / 2 + 0.25 for pair, matrix in problem.scores.items()}
    halved = {pair: matrix / 2 for pair, matrix in problem.scores.items()}
    here, there = (
        Problem(problem.queries, problem.items, None, problem.query_bank, problem.item_bank, scores=scores)
        for scores in (halved, shifted)
    )
    tested = [spec for spec in SPECS if spec.partition(":")[0] in UNMOVED and "kind=local" not in spec]
    assert {spec.partition(":")[0] for spec in tested} == set(UNMOVED)
    for spec in tested:
        same_rows(adjusted(there, spec, reverse), adjusted(here, spec, reverse), 1e-10)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_operators_that_are_one_in_the_limit(size: str, reverse: bool) -> None:
    problem = drawn(size, "cosines")
    S, P, *_ = scores_of(problem, reverse)
    for tau in (0.02, 1.0):
        for fit in ("bank", "test"):
            one = adjusted(problem, f"is:tau={tau},fit={fit}", reverse)
            same_rows(one, adjusted(problem, f"sinkhorn:tau={tau},iters=0,fit={fit}", reverse), 1e-12)
            everyone = adjusted(problem, f"dis:tau={tau},k={S.shape[1]},fit={fit}", reverse)  # all items are active
            same_rows(everyone, one, 1e-12)
    dn = adjusted(problem, "dn:lam=0.6", reverse)
    same_rows(dn, adjusted(problem, f"nnn:k={len(P)},alpha=0.6", reverse), 1e-12)
    same_rows(adjusted(problem, "is:tau=100000", reverse), adjusted(problem, "dn:lam=1", reverse), 1e-4)  # tau -> oo
    coldest = adjusted(problem, "is:tau=0.00001", reverse)  # tau -> 0: the best bank query alone
    same_rows(coldest, adjusted(problem, "nnn:k=1,alpha=1", reverse), 1e-4)
    half = adjusted(problem, "csls:k=5,fit=bank", reverse) / 2
    same_rows(half, adjusted(problem, "nnn:k=5,alpha=0.5", reverse), 1e-12)
    np.testing.assert_array_equal(adjusted(problem, "dis:k=0", reverse), S.astype(float))


@pytest.mark.parametrize("reverse", [False, True])
def test_an_item_bias_added_to_raw_scores_orders_as_the_operator(reverse: bool) -> None:
    problem = drawn("wide", "cosines")
    plain = adjusted(problem, "none", reverse)
    biased = set()
    for spec in SPECS:
        try:
            fitted = operators.parse(spec).learn(Views(Bases(problem, Plan()), reverse))
        except NotAvailable:
            continue
        if fitted.map is not None and fitted.map.bias_values is not None:
            biased.add(spec.partition(":")[0])
            wrong, compared = discordant(plain + fitted.map.bias_values, adjusted(problem, spec, reverse), 1e-11)
            assert wrong == 0 and compared > 0.99, spec
    assert biased == {"is", "sinkhorn", "dbsn", "csls", "nnn", "dn", "dualis", "dissim"}


@pytest.mark.parametrize("spec", [*SPECS, "nnn:k=5"])
def test_t2v_is_v2t_of_the_problem_turned_round(spec: str) -> None:
    for problem in (factories.with_banks(), drawn("wide", "cosines"), drawn("tall", "tied")):
        for reverse in (False, True):
            try:
                here = adjusted(problem, spec, reverse)
            except NotAvailable:
                assert problem.queries.vectors is None
                continue
            np.testing.assert_allclose(adjusted(problem.reversed(), spec, not reverse), here, rtol=1e-12, atol=1e-12)
