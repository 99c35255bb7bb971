"""One file of weights, or a folder of open_clip: whose it is decides who opens it."""

from pathlib import Path

from nclbench.errors import UsageError
from nclbench.files import printable
from nclbench.models import clip4clip, open_clip_checkpoints, openai
from nclbench.models.detection import family
from nclbench.models.encoder import Encoder, Settings
from nclbench.models.weights import read


def open_file(path: Path, settings: Settings) -> Encoder:
    """The encoder of a checkpoint that is not a folder of transformers.

    MissingError without the file or open_clip; InputError for what is damaged, unsafe, incomplete or of no family that can be
    encoded with; UsageError for settings that it cannot have. Nothing in a file is run.
    """
    if path.is_dir():
        return open_clip_checkpoints.open_folder(path, settings)
    weights = read(path)
    found = family(weights.tensors, weights.where)
    if found in ("CLIP4Clip", "X-CLIP", "DRL"):
        if settings.name is not None:
            raise UsageError(
                f"{printable(path)}: the weights of {found} say themselves which model it is; leave --open-clip-model out"
            )
        return clip4clip.open_weights(weights, found, settings)
    if settings.header != "auto":
        raise UsageError(
            f"{printable(path)}: the weights of {found}, which has no header {settings.header}; leave --header out"
        )
    if found == "open_clip" or settings.name is not None or open_clip_checkpoints.is_one(weights):
        return open_clip_checkpoints.open_weights(weights, settings)
    return openai.open_weights(weights, settings)
