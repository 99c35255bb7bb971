"""nclbench: honest, fast evaluation of cross-modal retrieval.

The public names are loaded on first use, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Embeddings": "problem",
    "Problem": "problem",
    "Relevance": "problem",
    "evaluate": "evaluation",
    "fuse": "fusion",
    "load": "sources",
    "Results": "results",
    "Tokens": "tokens",
    "NclbenchError": "errors",
}
__all__ = [*_HOMES, "__version__"]

if TYPE_CHECKING:
    from nclbench.errors import NclbenchError as NclbenchError
    from nclbench.evaluation import evaluate as evaluate
    from nclbench.fusion import fuse as fuse
    from nclbench.problem import Embeddings as Embeddings
    from nclbench.problem import Problem as Problem
    from nclbench.problem import Relevance as Relevance
    from nclbench.results import Results as Results
    from nclbench.sources import load as load
    from nclbench.tokens import Tokens as Tokens


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
