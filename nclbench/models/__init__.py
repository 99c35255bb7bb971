"""Checkpoints of many families become one thing, an `Encoder`. Tensors only: nothing in a file is ever run."""

from pathlib import Path
from typing import TYPE_CHECKING

from nclbench.errors import MissingError
from nclbench.files import printable

if TYPE_CHECKING:
    from nclbench.models.encoder import Encoder, Settings


def open_encoder(path: str | Path, settings: "Settings") -> "Encoder":
    """The encoder of a checkpoint: a folder of transformers or sentence-transformers, or a file of weights.

    MissingError without the file or a library, InputError for what is damaged, unsafe or of no known family,
    UsageError for settings that the checkpoint cannot have.
    """
    place = Path(path)
    if not place.exists():
        raise MissingError(f"{printable(path)}: no such file or folder")
    if place.is_dir() and not (place / "open_clip_config.json").is_file():
        from nclbench.models.folders_of_models import open_folder

        return open_folder(place, settings)
    from nclbench.models.files_of_weights import open_file

    return open_file(place, settings)
