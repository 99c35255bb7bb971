"""Whether a bank holds what is under test."""

import hashlib
from collections.abc import Iterator

from nclbench.problem import Floats, Problem


def leaks(problem: Problem) -> tuple[str, ...]:
    """Notes on banks that hold what is under test, by id or by value: what is fitted on them has seen the test."""
    found: list[str] = []
    for bank, test in ((problem.query_bank, problem.queries), (problem.item_bank, problem.items)):
        if bank is None:
            continue
        shared = len(set(bank.ids) & set(test.ids))
        if not shared and bank.vectors is not None and test.vectors is not None:
            known = set(row_keys(test.vectors))
            same = sum(key in known for key in row_keys(bank.vectors))
            if same:
                found.append(f"{bank.origin}: {same} of {len(bank)} bank rows equal test rows: repeats, or a leak?")
        if shared:
            found.append(f"{bank.origin}: {shared} of {len(bank)} bank ids are under test too; the bank leaks the test")
    return tuple(found)


def row_keys(vectors: Floats) -> Iterator[bytes]:
    """A short key for every row; equal rows have equal keys. vectors: (N, D)."""
    # Adding zero turns -0.0 into 0.0, which is the same value with other bytes.
    for start in range(0, len(vectors), 4096):
        for row in vectors[start : start + 4096] + vectors.dtype.type(0):
            yield hashlib.blake2b(row.tobytes(), digest_size=16).digest()
