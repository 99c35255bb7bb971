"""Token-wise interaction of DRL, plain and with learned weights, and late interaction of ColBERT."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from nclbench.errors import InputError
from nclbench.plan import Plan
from nclbench.problem import Embeddings
from nclbench.ragged import Ragged
from nclbench.scorers import scorers
from nclbench.scorers.heads import read
from nclbench.scorers.interaction import Interaction
from nclbench.scorers.sets import Part, Weigh, check_mask, frames, texts


def _only(side: Embeddings, name: str) -> None:
    if side.tokens is None and side.vectors is None:
        raise InputError(f"{side.origin or 'a side'}: neither tokens nor embeddings, and {name} needs one of them")


@scorers.register("ti")
@dataclass(frozen=True)
class TokenInteraction(Interaction):
    """TI: ( mean over words of the best frame + mean over frames of the best word ) / 2, of unit vectors.

    Without words the vector of the text is its only word, without frames that of the video its only frame. mask: neginf
    leaves padding out, zero scores it 0 before the maxima, as the authors' code does.
    """

    source: ClassVar[str] = "Wang et al. 2022 (DRL), token-wise interaction"
    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ("tokens",)

    mask: str = "neginf"

    def __post_init__(self) -> None:
        check_mask(self.name, self.mask)

    def settled(self, text: Embeddings, video: Embeddings) -> tuple["TokenInteraction", tuple[str, ...]]:
        return self, _lacking(self, text, video)

    def sets(self, side: Embeddings, is_text: bool, plan: Plan) -> Ragged:
        return _mean_of_both(self, side, is_text, plan, lambda part: part.shares)


@scorers.register("wti")
@dataclass(frozen=True)
class WeightedTokenInteraction(Interaction):
    """WTI: as ti, with learned weights of words and frames in the place of the means.

    head: a state dict (safetensors, or torch tensors) with `text_weight_fc` and `video_weight_fc` of one to three linear
    layers with ReLU between; its outputs on the vectors as stored go through a softmax over the unmasked ones. Without a
    head the weights are those of the file, tokens/weights of both sides.
    """

    source: ClassVar[str] = "Wang et al. 2022 (DRL), weighted token-wise interaction"
    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ("tokens", "a head or weights")

    head: str = ""
    mask: str = "neginf"

    def __post_init__(self) -> None:
        check_mask(self.name, self.mask)

    def lacks(self, side: Embeddings, is_text: bool) -> tuple[str, str] | None:
        unknown = not self.head and side.tokens is not None and side.tokens.weight is None
        return ("token weights", "tokens/weights") if unknown else None

    def settled(self, text: Embeddings, video: Embeddings) -> tuple["WeightedTokenInteraction", tuple[str, ...]]:
        for side, word in ((text, "words"), (video, "frames")):
            if not self.head and side.tokens is not None and side.tokens.weight is None:
                where = side.tokens.origin or word
                raise InputError(f"{where}: no weights of the {word}, which wti needs; add tokens/weights, or give head=FILE")
        return self, _lacking(self, text, video)

    def sets(self, side: Embeddings, is_text: bool, plan: Plan) -> Ragged:
        if side.tokens is None:
            return _mean_of_both(self, side, is_text, plan, lambda part: part.shares)
        if not self.head:
            return _mean_of_both(self, side, is_text, plan, lambda part: part.given)
        head = read(self.head, "text" if is_text else "video", side.tokens.features, plan)
        return _mean_of_both(self, side, is_text, plan, head.shares)


@scorers.register("maxsim")
@dataclass(frozen=True)
class MaxSim(Interaction):
    """Late interaction: the sum over words of the best frame, of unit vectors. Scores reach the number of words.

    mean: divided by the number of words, so that scores and temperatures are those of cosines. mask as of ti.
    """

    source: ClassVar[str] = "Khattab & Zaharia 2020 (ColBERT)"
    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ("tokens",)

    mean: bool = False
    mask: str = "neginf"

    def __post_init__(self) -> None:
        check_mask(self.name, self.mask)

    def settled(self, text: Embeddings, video: Embeddings) -> tuple["MaxSim", tuple[str, ...]]:
        return self, _lacking(self, text, video)

    def sets(self, side: Embeddings, is_text: bool, plan: Plan) -> Ragged:
        _only(side, self.name)
        zero = self.mask == "zero"

        def weigh(part: Part) -> Tensor:
            return part.shares if self.mean else part.ones

        if not is_text:
            return frames(side, plan, weigh, beta=0.0, zero=zero)
        each = side.tokens is not None
        return texts(side, plan, weigh, sentence=float(not each), each=float(each), forth=1.0, back=0.0, zero=zero)


def _mean_of_both(
    scorer: TokenInteraction | WeightedTokenInteraction, side: Embeddings, is_text: bool, plan: Plan, weigh: Weigh
) -> Ragged:
    _only(side, scorer.name)
    zero = scorer.mask == "zero"
    if not is_text:
        return frames(side, plan, weigh, beta=0.0, zero=zero)
    each = side.tokens is not None
    return texts(side, plan, weigh, sentence=float(not each), each=float(each), forth=0.5, back=0.5, zero=zero)


def _lacking(scorer: Interaction, text: Embeddings, video: Embeddings) -> tuple[str, ...]:
    missing = [
        said
        for side, said in ((text, "no word vectors, so the vector of a text is its only word"),
                           (video, "no frames, so the vector of a video is its only one"))
        if side.tokens is None
    ]  # fmt: skip
    return tuple(missing) if len(missing) == 1 else ()
