"""What X-CLIP and DRL have learned about words and frames beyond CLIP."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from nclbench.errors import InputError, UsageError
from nclbench.plan import Plan
from nclbench.scorers.heads import Head, made

_OF_WORDS = ("word_logit_weight", "word_mat_weight", "word_mat_weight2")
_OF_FRAMES = ("frame_logit_weight", "frame_mat_weight", "frame_mat_weight2")
_OF_VECTORS = ("global_mat_weight", "local_mat_weight")
# how the names of a family's tensors begin
NAMES = {"X-CLIP": (*_OF_WORDS, *_OF_FRAMES, *_OF_VECTORS), "DRL": ("text_weight_fc.", "video_weight_fc.")}


@dataclass(frozen=True)
class Matrices:
    """The sizes of X-CLIP's square matrices: how many words, frames and values of a vector they weigh."""

    words: int
    frames: int
    width: int

    def check(self, width: int, words: int | None, where: str) -> None:
        """InputError where they are not of CLIP's width, UsageError where more words are asked for than they weigh."""
        if self.width != width:
            raise InputError(f"{where}:global_mat_weight: {self.width} wide, but CLIP's vectors have {width} values")
        if words is not None and words > self.words:
            raise UsageError(f"--max-words is {words}, but this checkpoint's matrices weigh {self.words} words")


def matrices(tensors: Mapping[str, Tensor], where: str) -> Matrices:
    """Their sizes; InputError for a matrix that is missing, not square, or of another size than its kin."""

    def size(names: tuple[str, ...]) -> int:
        found = {}
        for name in names:
            shape = tuple(tensors[name].shape) if name in tensors else None
            if shape is None or len(shape) != 2 or shape[0] != shape[1] or not shape[0]:
                said = "is missing" if shape is None else f"has shape {shape}, not that of a square matrix"
                raise InputError(f"{where}:{name}: {said}; this is not the whole of an X-CLIP model")
            found[name] = shape[0]
        if len(set(found.values())) > 1:
            raise InputError(f"{where}: {found} should be equal; this is not an X-CLIP model")
        return found[names[0]]

    return Matrices(size(_OF_WORDS), size(_OF_FRAMES), size(_OF_VECTORS))


def weights(tensors: Mapping[str, Tensor], width: int, where: str) -> tuple[Head, Head]:
    """DRL's heads over words and over frames; InputError for one that is missing or does not fit."""
    plan = Plan()
    return made(tensors, where, "text", width, plan), made(tensors, where, "video", width, plan)
