"""Others that rank or measure: sorts, metric libraries, a search library. Each is imported only when it is run."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch

from nclbench.bench.data import Data
from nclbench.bench.loops import sorted_metrics
from nclbench.plan import COUNTS, FLAGS, SCORES

Figures = dict[str, float]
# what all metric libraries are asked for, as fractions
SIX = ("R@1", "R@5", "R@10", "MRR", "mAP", "nDCG@10")


@dataclass(frozen=True)
class Ranker:
    """make(data) prepares, and gives what is timed. goal: how many times faster we must be."""

    name: str
    module: str
    make: Callable[[Data], Callable[[], Any]]
    goal: float | None


def sort_both(data: Data) -> Callable[[], tuple[Figures, Figures]]:
    """From S, both directions."""
    scores = data.scores
    return lambda: (sorted_metrics(scores), sorted_metrics(scores.T))


def torchmetrics_six(data: Data) -> Callable[[], Figures]:
    """Scores, labels and the query of each pair as flat tensors are made beforehand.

    Its MRR and mAP take an item with a score of 0 or less as not found, so scores are moved above 0.
    """
    retrieval = import_module("torchmetrics.retrieval")
    plan = data.plan
    scores = plan.put(data.scores.reshape(-1) - (data.scores.min() - np.float32(0.01)), SCORES)
    query = plan.put(np.repeat(np.arange(data.shape[0]), data.shape[1]), COUNTS)
    labels = plan.put(np.eye(*data.shape).reshape(-1), FLAGS)
    named = {
        **{f"R@{k}": retrieval.RetrievalRecall(top_k=k) for k in (1, 5, 10)},
        "MRR": retrieval.RetrievalMRR(),
        "mAP": retrieval.RetrievalMAP(),
        "nDCG@10": retrieval.RetrievalNormalizedDCG(top_k=10),
    }

    def measured(metric: Any) -> float:
        metric.reset()
        metric.update(scores, labels, indexes=query)
        return float(metric.compute())

    return lambda: {name: measured(metric) for name, metric in named.items()}


def ranx_six(data: Data) -> Callable[[], Figures]:
    """Only the evaluation: its tables are made beforehand."""
    ranx = import_module("ranx")
    names = list(map(str, range(data.shape[1])))
    wanted = ranx.Qrels({name: {name: 1} for name in names})
    run = ranx.Run({name: dict(zip(names, row.tolist(), strict=True)) for name, row in zip(names, data.scores, strict=True)})
    asked = dict(zip(("recall@1", "recall@5", "recall@10", "mrr", "map", "ndcg@10"), SIX, strict=True))

    def call() -> Figures:
        found = ranx.evaluate(wanted, run, list(asked))
        return {asked[name]: float(value) for name, value in found.items()}

    return call


def pytrec_six(data: Data) -> Callable[[], Figures]:
    """Only the evaluation: its dictionaries are made beforehand."""
    module = import_module("pytrec_eval")
    names = list(map(str, range(data.shape[1])))
    wanted = {name: {name: 1} for name in names}
    run = {name: dict(zip(names, row.tolist(), strict=True)) for name, row in zip(names, data.scores, strict=True)}
    asked = dict(zip(("recall_1", "recall_5", "recall_10", "recip_rank", "map", "ndcg_cut_10"), SIX, strict=True))

    def call() -> Figures:
        rows = module.RelevanceEvaluator(wanted, set(asked)).evaluate(run).values()
        return {name: float(np.mean([row[key] for row in rows])) for key, name in asked.items()}

    return call


def faiss_top(data: Data, k: int = 10) -> Callable[[], Any]:
    """From embeddings: the index of the items is made in the call, (N, k) columns come back."""
    faiss = import_module("faiss")
    faiss.omp_set_num_threads(torch.get_num_threads())

    def call() -> Any:
        index = faiss.IndexFlatIP(data.dim)
        index.add(data.items)
        return index.search(data.queries, k)[1]

    return call


def sort_and_pot(data: Data, tau: float, iterations: int) -> Callable[[], list[Figures]]:
    """From embeddings: raw metrics both ways by sorting, POT's Sinkhorn in float64, the same metrics again."""
    ot = import_module("ot")

    def call() -> list[Figures]:
        scores = data.queries @ data.items.T
        n, m = scores.shape
        _, said = ot.sinkhorn(
            np.full(n, 1 / n), np.full(m, 1 / m), 1 - scores.astype(np.float64), tau,
            numItermax=iterations, stopThr=0, log=True, warn=False,
        )  # fmt: skip
        rows, columns = tau * np.log(said["u"]), tau * np.log(said["v"])
        both = sorted_metrics(scores), sorted_metrics(scores.T)
        return [*both, sorted_metrics(scores + columns), sorted_metrics((scores + rows[:, None]).T)]

    return call


LIBRARY_METRICS = (
    Ranker("torchmetrics", "torchmetrics", torchmetrics_six, 500),
    Ranker("ranx, evaluation only", "ranx", ranx_six, 100),
    Ranker("pytrec_eval, evaluation only", "pytrec_eval", pytrec_six, 100),
)
FAISS = Ranker("faiss IndexFlatIP, ten best of each query", "faiss", faiss_top, None)
SORT = Ranker("numpy sort", "", sort_both, 60)
