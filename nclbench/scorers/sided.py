"""Which side of a problem holds the texts, and what a scorer of words and frames makes of what both sides have."""

from dataclasses import dataclass, replace
from typing import Any

from nclbench.errors import InputError
from nclbench.problem import Embeddings, Problem
from nclbench.scorers import scorers
from nclbench.scorers.interaction import Interaction

_TEXTS = {"t2v": ("queries", "query_bank"), "v2t": ("items", "item_bank")}
# how the flat layout calls what a bank lacks
_KEYS = {True: "querybank_text_token_embeddings, querybank_text_mask", False: "gallerybank_frame_embeddings, gallerybank_mask"}
# in CLIP and CLIP4Clip only the vector at the end of the text is trained against frames
UNTRAINED = (
    "nothing says that the word vectors were trained against frames (tokens_aligned=true in the file), and without that "
    "they mean little: compare with the sentence alone"
)


@dataclass(frozen=True, eq=False)
class Sided:
    """scorer: settled for the test sides, cosine where nothing else is left. degenerate: whether that is so."""

    problem: Problem
    scorer: Any
    degenerate: bool = False
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, problem: Problem) -> "Sided":
        """Raises UsageError for a scorer that is not known, InputError for what it needs and the test sides lack."""
        scorer = scorers.parse(problem.scorer)
        if not isinstance(scorer, Interaction):
            return cls(problem, scorer)
        text, video = (problem.queries, problem.items) if problem.direction != "v2t" else (problem.items, problem.queries)
        if scorer.degenerate(text, video):
            reason = "degenerate, no words and no frames to act on, so that it is the plain cosine"
            return cls(problem, scorers.parse("cosine"), True, (f"{problem.scorer}: {reason}",))
        settled, notes = scorer.settled(text, video)
        if settled.reads_words(text) and not problem.tokens_aligned:
            notes += (UNTRAINED,)
        return cls(problem, settled, notes=tuple(f"{problem.scorer}: {note}" for note in notes))

    def is_text(self, role: str) -> bool:
        return role in _TEXTS[self.problem.direction or "t2v"]

    def alike(self, role: str, side: Embeddings) -> Embeddings:
        """For an `Interaction`: a bank with what the test side of its kind has; InputError where it has less."""
        test = self.problem.queries if role in ("queries", "query_bank") else self.problem.items
        if side is test:
            return side
        where, name = side.origin or role, self.problem.scorer
        asked = test.tokens
        if self.is_text(role) and not self.scorer.reads_words(test):
            asked = None
        if asked is None:
            side = replace(side, tokens=None)
        elif side.tokens is None:
            raise InputError(f"{where}: no tokens in the bank, and {name} needs them; add {_KEYS[self.is_text(role)]}")
        elif (lacking := self.scorer.lacks(side, self.is_text(role))) is not None:
            what, remedy = lacking
            raise InputError(f"{where}: no {what} in the bank, and {name} needs them as in the test; add {remedy}")
        if test.vectors is not None and side.vectors is None:
            raise InputError(f"{where}: no embeddings in the bank, and {name} needs them as in the test; add them")
        return side if test.vectors is not None else replace(side, vectors=None)
