"""Layouts: what the arrays of a foreign file mean. Each recognises a file and says where our parts are in it.

Parts are named `text/embeddings`, `video/ids`, `relevance/grade`, `scores/values`, `bank/text/embeddings`, ….
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nclbench.errors import InputError, UsageError, nearest
from nclbench.sources.raw import Raw

SIDES = ("text", "video")
PARTS = ("embeddings", "ids", "item_ids", "item_index", "captions", "weight")
RELEVANCE = ("query_ids", "item_ids", "grade")
KEYS = (
    *(f"{side}/{part}" for side in SIDES for part in PARTS),
    *(f"relevance/{part}" for part in RELEVANCE),
    "scores/values",
    *(f"bank/{side}/{part}" for side in SIDES for part in ("embeddings", "ids")),
    "bank/scores/values",
    "bank/video/scores/values",
    "logit_scale",
)
_ASKING = ("text", "txt", "query", "queries", "caption", "sentence")
_SEARCHED = ("video", "vid", "image", "img", "audio", "item", "gallery", "corpus")
_SCORES = ("scores", "sims", "sim", "similarity", "sim_matrix", "similarity_matrix", "S")


@dataclass(frozen=True)
class Source:
    """Where a part is: a file, an array in it, and what is done to it."""

    raw: Raw
    key: str
    steps: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        return self.raw.where(self.key)


Found = dict[str, Source]


@dataclass(frozen=True)
class Layout:
    """recognise(raw, split) -> parts, or None where the file is something else."""

    name: str
    summary: str
    source: str
    recognise: Callable[[Raw, str | None], Found | None]


LAYOUTS: dict[str, Layout] = {}


def layout(
    name: str, summary: str, source: str
) -> Callable[[Callable[[Raw, str | None], Found | None]], Callable[[Raw, str | None], Found | None]]:
    """Decorator that names a recogniser; they are tried in the order of this file."""

    def keep(function: Callable[[Raw, str | None], Found | None]) -> Callable[[Raw, str | None], Found | None]:
        LAYOUTS[name] = Layout(name, summary, source, function)
        return function

    return keep


def recognise(raw: Raw, split: str | None = None, forced: str | None = None) -> tuple[str, Found]:
    """(layout, parts). InputError where nothing fits, UsageError for an unknown name."""
    if forced is not None:
        if forced not in LAYOUTS:
            raise UsageError(f"unknown layout {forced!r}{nearest(forced, LAYOUTS)}")
        found = LAYOUTS[forced].recognise(raw, split)
        if found is None:
            raise InputError(f"{raw.origin}: does not look like layout {forced}; it holds {_listed(raw)}")
        return forced, found
    for name, each in LAYOUTS.items():
        if name != "vsepp" and (found := each.recognise(raw, split)) is not None:
            return name, found
    raise InputError(
        f"{raw.origin}: no embeddings or scores recognised among {_listed(raw)}; name them with --map KEY=SOURCE"
    )


def _listed(raw: Raw) -> str:
    from nclbench.files import printable

    names = [printable(f"{key or 'an array'} {list(entry.shape)}") for key, entry in raw.entries.items()]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "nothing"


_SET = re.compile(r"(?P<split>[\w.-]+?)[/.](?P<set>[A-Za-z]+)[/.](?P<part>\w+)\Z")


@layout("nclbench", "SPLIT/MODALITY/embeddings, ids, item_ids, captions; SPLIT/relevance; bank/…", "this project")
def _nclbench(raw: Raw, split: str | None) -> Found | None:
    splits: dict[str, Found] = {}
    bank: Found = {}
    for key in raw.entries:
        match = _SET.match(key)
        if match is None:
            continue
        side, part = _side(match["set"]), {"titles": "captions"}.get(match["part"], match["part"])
        name = f"{side or match['set']}/{part}"
        if match["split"].startswith("bank"):
            bank[f"bank/{name}"] = Source(raw, key)
        else:
            splits.setdefault(match["split"], {})[name] = Source(raw, key)
    splits = {name: {k: s for k, s in found.items() if k in KEYS} for name, found in splits.items()}
    splits = {name: found for name, found in splits.items() if "scores/values" in found or "text/embeddings" in found}
    if not splits:
        return None
    chosen = split or ("test" if "test" in splits else next(iter(splits)))
    if chosen not in splits or (split is None and "test" not in splits and len(splits) > 1):
        raise UsageError(f"{raw.origin}: choose one of its splits with --split: {', '.join(splits)}")
    return splits[chosen] | {key: source for key, source in bank.items() if key in KEYS} | _scale(raw)


def _side(name: str) -> str | None:
    return "text" if name.lower() in _ASKING else "video" if name.lower() in _SEARCHED else None


def _scale(raw: Raw) -> Found:
    return {"logit_scale": Source(raw, "logit_scale")} if "logit_scale" in raw.entries else {}


_FLAT: Mapping[str, str] = {
    "text_ids": "text/ids",
    "query_ids": "text/ids",
    "text_video_ids": "text/item_ids",
    "text_image_ids": "text/item_ids",
    "text_video_index": "text/item_index",
    "text_image_index": "text/item_index",
    "captions": "text/captions",
    "video_ids": "video/ids",
    "image_ids": "video/ids",
    "audio_ids": "video/ids",
    "item_ids": "video/ids",
    "gallery_captions": "video/captions",
    "titles": "video/captions",
    "text_weight": "text/weight",
    "video_weight": "video/weight",
    "querybank_text_embeddings": "bank/text/embeddings",
    "querybank_embeddings": "bank/text/embeddings",
    "querybank_text_ids": "bank/text/ids",
    "gallerybank_embeddings": "bank/video/embeddings",
    "gallerybank_video_embeddings": "bank/video/embeddings",
    "gallerybank_ids": "bank/video/ids",
    "querybank_scores": "bank/scores/values",
    "gallerybank_scores": "bank/video/scores/values",
    "logit_scale": "logit_scale",
}
_EMBEDDINGS = re.compile(r"([A-Za-z]+)(?:_(?:embeddings?|embeds?|embs?|features?|feats?))?\Z")


def _flat_parts(raw: Raw) -> Found:
    found: Found = {}
    for key, entry in raw.entries.items():
        name = key.rpartition("/")[2]
        part = _FLAT.get(name)
        match = _EMBEDDINGS.match(name)
        if part is None and match and len(entry.shape) == 2 and (side := _side(match[1])):
            part = f"{side}/embeddings"
        if part is not None:
            if part in found:
                raise InputError(f"{raw.origin}: both {found[part].key} and {key} look like {part}; use --map")
            found[part] = Source(raw, key)
    return found


@layout("flat", "text_embeddings, video_embeddings, text_video_index or ids, captions, banks", "common HDF5 and npz files")
def _flat(raw: Raw, split: str | None) -> Found | None:
    found = _flat_parts(raw)
    return found if {"text/embeddings", "video/embeddings"} <= set(found) else None


@layout("clip-retrieval", "folders img_emb, text_emb and metadata; same row = pair", "clip-retrieval's clip_inference")
def _clip_retrieval(raw: Raw, split: str | None) -> Found | None:
    items = next((key for key in ("img_emb", "video_emb") if key in raw.entries), None)
    if items is None or "text_emb" not in raw.entries:
        return None
    found = {"text/embeddings": Source(raw, "text_emb"), "video/embeddings": Source(raw, items)}
    for key, part in (("metadata/caption", "text/captions"), ("metadata/image_path", "video/ids")):
        if key in raw.entries:
            found[part] = Source(raw, key)
    return found


@layout("frozen", "vid_embeds_test.npy, txt_embeds_test.npy, ids_test.csv in a folder", "Frozen in Time's test.py")
def _frozen(raw: Raw, split: str | None) -> Found | None:
    end = split or "test"
    names = {"text/embeddings": f"txt_embeds_{end}", "video/embeddings": f"vid_embeds_{end}"}
    if not set(names.values()) <= set(raw.entries):
        return None
    found = {part: Source(raw, key) for part, key in names.items()}
    if f"ids_{end}" in raw.entries:
        found["video/ids"] = Source(raw, f"ids_{end}")
    return found


@layout("matrix", "one array of scores, queries x items", "dumped similarity matrices")
def _matrix(raw: Raw, split: str | None) -> Found | None:
    tables = [key for key, entry in raw.entries.items() if len(entry.shape) == 2 and entry.dtype != "string"]
    named = [key for key in tables if key.rpartition("/")[2] in _SCORES]
    chosen = named or tables
    if len(chosen) != 1:
        return None
    parts = {part: source for part, source in _flat_parts(raw).items() if not part.endswith("embeddings")}
    return {**parts, "scores/values": Source(raw, chosen[0])}


@layout("vsepp", "image rows repeated 5 times, caption i belongs to image i // 5", "VSE++, DBSN; only when asked for")
def _vsepp(raw: Raw, split: str | None) -> Found | None:
    found = _flat(raw, split)
    if found is None:
        return None
    video = found["video/embeddings"]
    repeated = raw.entries[video.key].shape[0] == raw.entries[found["text/embeddings"].key].shape[0]
    found["video/embeddings"] = Source(raw, video.key, ("stride=5",) if repeated else ())
    found["text/item_index"] = Source(raw, found["text/embeddings"].key, ("rows", "groups=5"))
    return found


def listing() -> list[dict[str, Any]]:
    """What `nclbench list layouts` shows."""
    return [
        {"name": each.name, "params": {}, "source": each.source, "needs": "", "summary": each.summary}
        for each in LAYOUTS.values()
    ]
