"""What decides the numbers of a run, as one document: two runs with the same one may share their work."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from nclbench import __version__
from nclbench.embedding.job import Job, Request, sampling
from nclbench.errors import InputError
from nclbench.files import printable, regular, sha256
from nclbench.media.captions import Captions
from nclbench.models.encoder import Encoder

_READ = (".json", ".txt", ".model", ".spm", ".safetensors", ".bin", ".pt", ".pth")
_LIBRARIES = ("torch", "transformers", "tokenizers", "open_clip_torch", "torchvision", "av", "pillow")


def checkpoint_hash(path: Path) -> str:
    """SHA-256 of a file, or of the names and hashes of all files of a folder that can decide a number."""
    if path.is_file():
        return sha256(path)
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.suffix in _READ)
    if not files:
        raise InputError(f"{printable(path)}: holds no model; config.json, weights and a tokenizer must be in it")
    return _hash([file.relative_to(path).as_posix(), sha256(regular(file))] for file in files)


def describe(request: Request, job: Job, encoder: Encoder, checkpoint: str, contents: bool = False) -> dict[str, Any]:
    """contents: name media by their bytes rather than by size and time, so that a copy elsewhere is the same."""
    if job.gallery is not None:
        items = _captions(job.gallery)
    else:
        items = _hash([medium.id, medium.content() if contents else medium.stamp()] for medium in job.media)
    seen = {} if job.gallery is not None else asdict(sampling(request, encoder.frames))
    return {
        "checkpoint": checkpoint,
        "family": encoder.family,
        "encoder": json.loads(json.dumps(encoder.facts, default=str)),
        "captions": _captions(job.queries),
        "gallery": items,
        "settings": {
            "kind": request.kind,
            "batch": request.batch,
            "words": encoder.words,
            "parts": sorted(request.parts),
            "dtype": request.dtype,
            "device": request.settings.device,
            **seen,
        },
        "versions": {"nclbench": __version__, **{name: found for name in _LIBRARIES if (found := _version(name))}},
    }


def digest(description: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def differences(there: Any, here: Any, name: str = "") -> Iterator[str]:
    """`settings.batch (16, now 32)` for everything that is not the same."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in sorted({*there, *here}):
            yield from differences(there.get(key), here.get(key), f"{name}.{key}".strip("."))
    elif there != here:
        short = isinstance(here, str) and len(here) == 64
        yield name if short else f"{name} ({printable(there)[:60]}, now {printable(here)[:60]})"


def _captions(captions: Captions) -> str:
    return _hash(zip(captions.ids, captions.items, captions.texts, strict=True))


def _hash(records: Iterable[Any]) -> str:
    found = hashlib.sha256()
    for record in records:
        found.update(json.dumps(record).encode() + b"\n")
    return found.hexdigest()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
