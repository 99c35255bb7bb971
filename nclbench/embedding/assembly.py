"""Shards become one file of our schema, slice by slice: no more than a shard is in memory."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nclbench import __version__
from nclbench.embedding.job import Job, Request, item_batches, text_batches
from nclbench.embedding.parts import Array, Parts
from nclbench.embedding.stack import Stack
from nclbench.errors import InputError
from nclbench.files import printable
from nclbench.models.encoder import Encoder
from nclbench.sinks.hdf5 import write
from nclbench.sinks.schema import VERSION, Scalar, Slabs, texts, word

_SETS = {"captions": "item", "videos": "video", "frames": "video", "images": "image"}
_FIELDS = {"whole": "embeddings", "parts": "tokens/values", "mask": "tokens/mask", "weight": "tokens/weights"}


@dataclass(frozen=True)
class Found:
    """What came of it. skipped, damaged: (id, reason) each; dropped: captions of what was skipped; cut: texts that are longer
    than the encoder reads.
    """

    queries: int
    items: int
    skipped: tuple[tuple[str, str], ...] = ()
    damaged: tuple[tuple[str, str], ...] = ()
    dropped: int = 0
    cut: int = 0


def outcome(request: Request, job: Job, encoder: Encoder, parts: Parts) -> Found:
    """InputError where nothing could be decoded, or under `strict` not everything."""
    if job.gallery is not None:
        return Found(len(job.queries), len(job.gallery), cut=_cut(request, job, parts))
    said = [parts.said(name) for name, _ in item_batches(request, job, encoder.frames)]
    skipped = tuple((str(a), str(b)) for each in said for a, b in each["skipped"])
    damaged = tuple((str(a), str(b)) for each in said for a, b in each["damaged"])
    found = _judged(request, job, skipped, damaged, _cut(request, job, parts))
    if not found.items or not found.queries:
        name, why = skipped[0]
        where = printable(request.gallery)
        raise InputError(f"{where}: none of the {job.items} {request.kind} can be decoded (first {printable(name)}: {why})")
    return found


def remembered(request: Request, job: Job, target: Path) -> Found:
    """The same of a file that an earlier run has written."""
    import h5py

    with h5py.File(target) as file:

        def listed(kind: str) -> tuple[tuple[str, str], ...]:
            fields = [file[f"{kind}/{field}"].asstr()[:] for field in ("ids", "reasons")] if kind in file else [[], []]
            return tuple((str(name), str(why)) for name, why in zip(*fields, strict=True))

        return _judged(request, job, listed("skipped"), listed("damaged"), int(file.attrs.get("texts_cut", 0)))


def _judged(
    request: Request, job: Job, skipped: tuple[tuple[str, str], ...], damaged: tuple[tuple[str, str], ...], cut: int
) -> Found:
    if request.strict and (skipped or damaged or job.left_out):
        first = [f"{printable(name)}: {why}" for name, why in (*skipped, *damaged)] + [printable(each) for each in job.left_out]
        where = printable(request.gallery)
        raise InputError(f"{where}: {len(first)} files are not as they should be (first {first[0]}); --strict takes none such")
    gone = {name for name, _ in skipped}
    dropped = sum(item in gone for item in job.queries.items)
    return Found(len(job.queries) - dropped, job.items - len(skipped), skipped, damaged, dropped, cut)


def _cut(request: Request, job: Job, parts: Parts) -> int:
    return sum(int(parts.said(name).get("cut", 0)) for name, _ in text_batches(request, job))


def assemble(
    request: Request, job: Job, encoder: Encoder, parts: Parts, found: Found, description: Mapping[str, Any], target: Path
) -> None:
    """Writes the file whole or not at all."""
    gone = {name for name, _ in found.skipped}
    split, group = word(request.split or "test"), _SETS[request.kind]
    rows = [row for row, item in enumerate(job.queries.items) if item not in gone]
    place = {text: at for at, text in enumerate(job.texts)}
    sayings = Stack(parts, [name for name, _ in text_batches(request, job)])
    arrays: dict[str, Array | Slabs] = {}
    arrays |= _slabs(f"{split}/text", sayings, [place[job.queries.texts[row]] for row in rows])
    if job.gallery is not None:
        arrays |= _slabs(f"{split}/{group}", sayings, [place[text] for text in job.gallery.texts])
    else:
        seen = Stack(parts, [name for name, _ in item_batches(request, job, encoder.frames)])
        arrays |= _slabs(f"{split}/{group}", seen, range(found.items))
    arrays[f"{split}/text/ids"] = texts([job.queries.ids[row] for row in rows])
    arrays[f"{split}/text/captions"] = texts([job.queries.texts[row] for row in rows])
    arrays |= _relation(job, split, group, gone, [job.queries.items[row] for row in rows])
    for kind, listed in (("skipped", found.skipped), ("damaged", found.damaged)):
        if listed:
            arrays[f"{kind}/ids"] = texts([name for name, _ in listed])
            arrays[f"{kind}/reasons"] = texts([why for _, why in listed])
    write(arrays, _attributes(request, encoder, found, description), target)


def _relation(job: Job, split: str, group: str, gone: set[str], asked: Sequence[str]) -> dict[str, Array]:
    """Ids of the gallery, and for every query what answers it: one item, or all captions of what it describes."""
    if job.gallery is None:
        ids = [medium.id for medium in job.media if medium.id not in gone]
        return {f"{split}/{group}/ids": texts(ids), f"{split}/text/item_ids": texts(asked)}
    gallery = job.gallery
    arrays = {f"{split}/{group}/captions": texts(gallery.texts)}
    if len(gallery.things) == len(gallery):
        return arrays | {f"{split}/{group}/ids": texts(gallery.items), f"{split}/text/item_ids": texts(asked)}
    answers: dict[str, list[str]] = {}
    for name, item in zip(gallery.ids, gallery.items, strict=True):
        answers.setdefault(item, []).append(name)
    pairs = [(query, name) for query, item in zip(job.queries.ids, asked, strict=True) for name in answers[item]]
    arrays[f"{split}/{group}/ids"] = texts(gallery.ids)
    arrays[f"{split}/relevance/query_ids"] = texts([query for query, _ in pairs])
    return arrays | {f"{split}/relevance/item_ids": texts([name for _, name in pairs])}


def _slabs(group: str, stack: Stack, rows: Sequence[int]) -> dict[str, Slabs]:
    """Every field of a side: these rows of the shards."""
    wanted = np.asarray(rows, dtype=np.int64)

    def slabs(key: str) -> Slabs:
        shape = (len(wanted), *stack.shape(key))
        return Slabs(shape, stack.dtype(key), lambda: (stack.rows(key, part) for part in stack.pieces(wanted)))

    return {f"{group}/{_FIELDS[key]}": slabs(key) for key in stack.keys}


def _attributes(
    request: Request, encoder: Encoder, found: Found, description: Mapping[str, Any]
) -> dict[str, Scalar]:
    attributes: dict[str, Scalar] = {
        "nclbench_schema": VERSION,
        "created_by": f"nclbench {__version__}",
        "split": request.split or "test",
        "model": request.model or request.checkpoint.resolve().name,
        "similarity": "cosine",
        "normalized": False,
        "labelled": True,
        "checkpoint": printable(request.checkpoint.name or request.checkpoint),
        "checkpoint_sha256": str(description["checkpoint"]),
        "family": encoder.family,
        "words": encoder.words,
        "preprocessing": json.dumps(description["encoder"], ensure_ascii=True),
        "settings": json.dumps(description["settings"]),
        "versions": json.dumps(description["versions"]),
        "skipped": len(found.skipped),
        "texts_cut": found.cut,
    }
    for name in ("fps", "most"):
        if description["settings"].get(name) is not None:
            attributes["frames" if name == "most" else name] = description["settings"][name]
    if encoder.facts.get("tokens_aligned"):
        attributes["tokens_aligned"] = True
    if encoder.temperature is not None:
        attributes["logit_scale"] = encoder.temperature.scale
        attributes["logit_scale_source"] = encoder.temperature.source
    return attributes
