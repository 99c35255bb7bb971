"""Figures that others reported: what a publication says, where it says so, and what it does not say."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from nclbench.errors import nearest

NORMS = {
    "none": "nothing",
    "DSL": "test-queries",
    "SK": "test-queries",
    "IS": "not stated",
    "QB-Norm": "query-bank",
    "unknown": "not stated",
}
UNITS = {"R@1": "percent", "R@5": "percent", "R@10": "percent", "R@50": "percent", "MdR": "rank", "MnR": "rank"}
_KNOWN = {
    "direction": ("t2v", "v2t"),
    "test_norm": tuple(NORMS),
    "v2t_protocol": ("unknown", "captions", "videos"),
}


@dataclass(frozen=True)
class Reported:
    """One row of a publication, in one direction. test_norm: how scores were normalised at test time, one of `NORMS`.

    split: the label of a split of the benchmark, or unknown where the source does not say which list it is.
    key: of the BibTeX entry that reports it; source: where the figures were read. note: what else tells it apart.
    """

    method: str
    split: str
    direction: str
    test_norm: str
    metrics: Mapping[str, float]
    key: str
    source: str
    backbone: str = ""
    note: str = ""
    v2t_protocol: str = "unknown"

    def __post_init__(self) -> None:
        for name, known in _KNOWN.items():
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"unknown {name} {value!r}{nearest(value, known)}")
        for name in ("method", "split", "key", "source"):
            if not getattr(self, name).strip():
                raise ValueError(f"{name} is empty: rows of unknown provenance are not kept")
        if not re.fullmatch("[A-Za-z0-9:.-]+", self.key):
            raise ValueError(f"key {self.key!r} is no BibTeX key of letters, digits and any of : . -")
        for name in self.metrics:
            if name not in UNITS:
                raise ValueError(f"unknown metric {name!r}{nearest(name, UNITS)}")
        if not self.metrics:
            raise ValueError("a row without metrics")

    @property
    def identity(self) -> tuple[str, ...]:
        """What both directions of one row share, and no other row has."""
        return (self.method, self.backbone, self.split, self.test_norm, self.note, self.key, self.source)


@dataclass(frozen=True)
class Placed:
    """A reported row set beside results. selector: of the columns that it belongs to.

    differs: in what its protocol is another one than theirs, or is not known to be the same.
    """

    row: Reported
    dataset: str
    selector: str
    differs: tuple[str, ...]
