"""Which family a folder's configuration names, and its encoder."""

from pathlib import Path

from nclbench.errors import InputError, UsageError
from nclbench.files import printable
from nclbench.models import folders, hugging_face, sentences
from nclbench.models.encoder import Encoder, Settings


def open_folder(folder: Path, settings: Settings) -> Encoder:
    """The encoder of a folder by its `config.json`; see `nclbench.models.open_encoder`."""
    if settings.name is not None:
        raise UsageError(f"{printable(folder)}: a folder says itself which model it holds; leave the model's name out")
    if settings.header != "auto":
        raise UsageError(f"{printable(folder)}: {settings.header} is a header of CLIP4Clip's files, not of a folder")
    if (folder / "modules.json").is_file():
        return sentences.open_sentences(folder, settings)
    kind = str(folders.read_json(folder / "config.json").get("model_type"))
    if kind in hugging_face.KINDS:
        return hugging_face.open_clip_folder(folder, settings)
    if kind in sentences.KINDS:
        return sentences.open_sentences(folder, settings)
    known = ", ".join(("sentence-transformers", *hugging_face.KINDS, *sentences.KINDS))
    raise InputError(f"{printable(folder)}/config.json: model_type {printable(kind)!r} is none that is read here ({known})")
