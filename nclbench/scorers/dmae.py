"""DMAE: words and frames, with attention to content words and to frames that another one confirms."""

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from nclbench.errors import InputError, UsageError, nearest
from nclbench.plan import Plan
from nclbench.problem import Embeddings
from nclbench.ragged import Ragged
from nclbench.scorers import scorers
from nclbench.scorers.interaction import Interaction
from nclbench.scorers.sets import Part, check_mask, frames, texts
from nclbench.scorers.tags import tagger, weights

BRANCHES = ("both", "sent", "word")
TEXTUAL = ("auto", "given", "pos", "none")
TAGGER = "en_core_web_md"


@scorers.register("dmae")
@dataclass(frozen=True)
class DualModalAttention(Interaction):
    """DMAE: ( best frame of each word + best word of each frame ) / 2, of the sentence and of its words.

    With unit vectors, for a set X of the text (the sentence alone, or its words) and the frames f of a video:
    t2v = sum_l a_l ( s_lk + beta g_k s_l,nb(k) ), k the best frame of l, nb(k) the frame most similar to k, g_k how
    similar; v2t = mean over k of max_l s_lk; S_X = (t2v + v2t) / 2. branches: both (the mean of the two), sent, word; a
    branch without vectors is left out. va: the term with beta. ta: word weights a_l, given by the file, pos (2 : 1 for nouns,
    adjectives and verbs, by the spaCy pipeline `tagger`, a name or a folder), none (equal), or auto (given where the file
    has them). A word of weight 0 is padding. mask: neginf leaves padding out, zero scores it 0 before the maxima, as the
    authors' code does. Without frames the vector of a video is its only frame.
    """

    source: ClassVar[str] = "Jiang et al. 2023 (DMAE), the authors' code"
    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ("tokens", "for ta=pos captions, spans and spaCy")

    beta: float = 0.5
    branches: str = "both"
    va: bool = True
    ta: str = "auto"
    mask: str = "neginf"
    tagger: str = TAGGER

    def __post_init__(self) -> None:
        check_mask(self.name, self.mask)
        if not 0 <= self.beta <= 10:
            raise UsageError(f"dmae:beta={self.beta:g} is out of range; give 0 to 10 (the paper's code has 0.5)")
        if self.branches not in BRANCHES:
            raise UsageError(f"dmae:branches={self.branches} is unknown{nearest(self.branches, BRANCHES)}")
        if self.ta not in TEXTUAL:
            raise UsageError(f"dmae:ta={self.ta} is unknown{nearest(self.ta, TEXTUAL)}")
        if self.tagger != TAGGER and self.ta != "pos":
            raise UsageError(f"dmae:tagger={self.tagger} is for ta=pos; give ta=pos too, or leave the tagger out")

    def reads_words(self, side: Embeddings) -> bool:
        return side.tokens is not None and self.branches != "sent"

    def lacks(self, side: Embeddings, is_text: bool) -> tuple[str, str] | None:
        assert side.tokens is not None
        if is_text and self.ta == "given" and side.tokens.weight is None:
            return "token weights", "tokens/weights"
        if is_text and self.ta == "pos" and side.captions is None:
            return "captions", "captions"
        if is_text and self.ta == "pos" and side.tokens.spans is None:
            return "spans of the words", "tokens/spans (which characters of its caption each word vector stands for)"
        return None

    def settled(self, text: Embeddings, video: Embeddings) -> tuple["DualModalAttention", tuple[str, ...]]:
        notes: list[str] = []
        where = text.origin or "texts"
        if self.branches == "word" and text.tokens is None:
            raise InputError(f"{where}: no word vectors, which dmae:branches=word needs; add tokens, or use sent")
        if self.branches != "word" and text.vectors is None:
            if self.branches == "sent":
                raise InputError(f"{where}: no sentence vectors, which dmae:branches=sent needs; add embeddings")
            notes.append("no sentence vectors, so only the word branch is scored")
        if not self.reads_words(text):
            if self.branches == "both":
                notes.append("no word vectors, so only the sentence branch is scored, and ta has nothing to weigh")
            return self, tuple(notes)
        assert text.tokens is not None
        known = text.tokens.weight is not None
        if self.ta == "given" and not known:
            where = text.tokens.origin or where
            raise InputError(f"{where}: no word weights, which dmae:ta=given needs; add tokens/weights, or use ta=none")
        if self.ta == "pos":
            if (lacking := self.lacks(text, True)) is not None:
                what, remedy = lacking
                where = text.tokens.origin or where
                raise InputError(f"{where}: no {what}, which dmae:ta=pos needs; add {remedy}, or weights and use ta=given")
            notes.append(tagger(self.tagger).said + (", the weights of the file are left out" if known else ""))
        if self.ta == "auto" and not known:
            notes.append("no word weights, so all words weigh the same (ta=none)")
        if video.tokens is None:
            notes.append("no frames, so the vector of a video is its only one, and visual attention has nothing to add")
        return replace(self, ta=("given" if known else "none") if self.ta == "auto" else self.ta), tuple(notes)

    def sets(self, side: Embeddings, is_text: bool, plan: Plan) -> Ragged:
        zero = self.mask == "zero"
        if not is_text:
            return frames(side, plan, _equal, beta=self.beta if self.va else 0.0, zero=zero)
        whole = side.vectors is not None and self.branches != "word"
        each = self.reads_words(side)
        share = 0.5 if whole and each else 1.0
        weigh = _given if each and self.ta in ("given", "pos") else _equal
        if each and self.ta == "pos":
            assert side.tokens is not None
            side = replace(side, tokens=replace(side.tokens, weight=weights(side, self.tagger)))
        if weigh is _given:
            # as in the formula, where the weights are the mask: a word without weight is no candidate for any frame
            assert side.tokens is not None and side.tokens.weight is not None
            side = replace(side, tokens=replace(side.tokens, mask=side.tokens.mask & (side.tokens.weight > 0)))
        return texts(side, plan, weigh, sentence=share * whole, each=share * each, forth=0.5, back=0.5, zero=zero)


def _equal(part: Part) -> Tensor:
    return part.shares


def _given(part: Part) -> Tensor:
    return part.given
