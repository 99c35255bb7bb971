"""Layouts: the ways in which people lay out embeddings in files, each translated into canonical keys by one function.

A layout sees names, shapes and dtypes, never values. To add one, write a function `Given -> Found | None` and
decorate it; the order in this file is the order in which they are tried.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nclbench.errors import UsageError, nearest
from nclbench.sources.given import Given
from nclbench.sources.keys import ITEM_SETS, Key, recognise
from nclbench.sources.raw import STRING, Entry, Raw, Scalar
from nclbench.sources.source import Source
from nclbench.sources.transforms import Transform


@dataclass(frozen=True)
class Found:
    """Where every canonical key comes from, and attributes that the layout implies."""

    sources: Mapping[Key, Source]
    attributes: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """summary: the files it expects, in one line. automatic: whether it is tried without being asked for."""

    name: str
    summary: str
    automatic: bool
    find: Callable[[Given], Found | None]


LAYOUTS: dict[str, Layout] = {}
ALIASES = {"dbsn": "vsepp", "w2vvpp": "bigfile", "frozen-in-time": "frozen"}


def layout(name: str, summary: str, *, automatic: bool = True) -> Callable[[Callable[[Given], Found | None]], None]:
    """Registers a layout function under a name."""

    def keep(find: Callable[[Given], Found | None]) -> None:
        LAYOUTS[name] = Layout(name, summary, automatic, find)

    return keep


def get(name: str) -> Layout:
    """The layout of a name or alias; UsageError with the nearest match otherwise."""
    found = LAYOUTS.get(ALIASES.get(name, name))
    if found is None:
        raise UsageError(f"unknown layout {name!r}{nearest(name, [*LAYOUTS, *ALIASES])}")
    return found


def listing() -> list[dict[str, object]]:
    """Rows for `nclbench list layouts`."""
    return [
        {
            "name": found.name,
            "params": {},
            "source": "",
            "needs": "nothing: it is recognised" if found.automatic else f"--layout {found.name}",
            "summary": found.summary,
        }
        for found in LAYOUTS.values()
    ]


@layout("nclbench", "our own schema: SPLIT/MODALITY/embeddings …, in HDF5, npz, safetensors or a Parquet folder")
def _nclbench(given: Given) -> Found | None:
    found: dict[Key, Source] = {}
    for raw in given.parts:
        found |= {key: Source(raw.path, name) for name in raw.entries if (key := recognise(name))}
    for match in given.matching(r"(.+)/part-?0*\.parquet"):
        raw = given.shelf.open(str(Path(given.folder) / match[0]))
        parts = given.inside(re.sub(r"0+(?=\.parquet$)", "*", match[0])).path
        columns = {key: name for name in raw.entries if (key := recognise(f"{match[1]}/{name}"))}
        found |= {key: Source(parts, name) for key, name in columns.items()}
    return Found(found) if any(key.field in ("embeddings", "tokens/values", "values") for key in found) else None


_SIDES = {
    "text": "text", "txt": "text", "caption": "text", "query": "query", "video": "video", "vid": "video",
    "image": "image", "img": "image", "audio": "audio", "item": "item", "gallery": "item",
}  # fmt: skip
_SIDE = f"({'|'.join(_SIDES)})"
_VECTORS = "(?:embeddings?|embeds?|embs?|features?|feats?|vectors)"
_PIECES = "(?:token|word|frame)s?"
_ITEM = "(?:video|vid|image|img|audio|item|gallery)"
# What a flat name means; {} stands for the side that the pattern caught, ITEM for whatever the items are.
_FLAT = (
    (rf"{_SIDE}_{_VECTORS}", "test/{}/embeddings"),
    (rf"(?:text|query|caption)_{_ITEM}_index", "test/text/item_index"),
    (rf"(?:text|query|caption)_{_ITEM}_ids?", "test/text/item_ids"),
    (rf"{_SIDE}_ids", "test/{}/ids"),
    (rf"{_SIDE}_weights?", "test/{}/weight"),
    (rf"{_SIDE}_{_PIECES}(?:_{_VECTORS})?", "test/{}/tokens/values"),
    (rf"{_SIDE}_(?:{_PIECES}_)?mask", "test/{}/tokens/mask"),
    (rf"{_SIDE}_{_PIECES}_(weights|offsets|spans)", "test/{}/tokens/{}"),
    (r"(?:text_|query_)?captions|texts|sentences", "test/text/captions"),
    (rf"{_ITEM}_(?:captions|titles)|titles", "test/ITEM/titles"),
    (rf"query_?bank_(?:text_)?{_VECTORS}", "bank/text/embeddings"),
    (rf"query_?bank_(?:text_)?{_PIECES}(?:_{_VECTORS})?", "bank/text/tokens/values"),
    (rf"query_?bank_(?:text_)?(?:{_PIECES}_)?mask", "bank/text/tokens/mask"),
    (rf"query_?bank_(?:text_)?{_PIECES}_(weights|offsets|spans)", "bank/text/tokens/{}"),
    (r"query_?bank_(?:text_)?ids", "bank/text/ids"),
    (r"query_?bank_(?:text_)?captions", "bank/text/captions"),
    (rf"(?:gallery|item|video)_?bank_(?:{_ITEM}_)?{_VECTORS}", "bank/ITEM/embeddings"),
    (rf"(?:gallery|item|video)_?bank_(?:{_ITEM}_)?{_PIECES}(?:_{_VECTORS})?", "bank/ITEM/tokens/values"),
    (rf"(?:gallery|item|video)_?bank_(?:{_ITEM}_)?(?:{_PIECES}_)?mask", "bank/ITEM/tokens/mask"),
    (rf"(?:gallery|item|video)_?bank_(?:{_ITEM}_)?{_PIECES}_(weights|offsets)", "bank/ITEM/tokens/{}"),
    (rf"(?:gallery|item|video)_?bank_(?:{_ITEM}_)?ids", "bank/ITEM/ids"),
)


@layout("flat", "one file: text_embeddings, video_embeddings, text_video_index or text_video_ids, video_ids, …")
def _flat(given: Given) -> Found | None:
    if len(given.parts) != 1:
        return None
    raw = given.parts[0]
    meanings: dict[str, str] = {}
    for name in raw.entries:
        for pattern, meaning in _FLAT:
            if match := re.fullmatch(pattern, name):
                side, *more = (_SIDES.get(word, word) for word in match.groups()) if match.groups() else ("",)
                says = meaning.format(side, *more)
                if _fits(says, raw.entries[name], f"{re.split('_(?:embed|emb|feat|vec)', name)[0]}_offsets" in raw.entries):
                    meanings[name] = says
                break
    words = {meaning.split("/")[1] for meaning in meanings.values()}
    items = next((word for word in ITEM_SETS if word in words), "item")
    texts = "query" if "query" in words and "text" not in words else "text"
    found: dict[Key, Source] = {}
    for name, meaning in meanings.items():
        split, group, what = meaning.split("/", 2)
        group = {"ITEM": items, "text": texts, "query": texts}.get(group, group)
        found.setdefault(Key(split, group, what), Source(raw.path, name))
    for name in raw.entries:
        if name not in meanings and (key := recognise(name)):
            found.setdefault(key, Source(raw.path, name))
    return Found(found) if any(key.field in ("embeddings", "tokens/values") for key in found) else None


def _fits(meaning: str, entry: Entry, ragged: bool) -> bool:
    """Whether an array can be what its name says: ids of tokens are no features of theirs."""
    if meaning.endswith("tokens/values"):
        return len(entry.shape) == (2 if ragged else 3) and "float" in entry.dtype
    return not meaning.endswith("tokens/mask") or len(entry.shape) == 2


@layout("clip-retrieval", "a folder: text_emb/text_emb_0.npy, img_emb/img_emb_0.npy, metadata/…; row = pair")
def _clip_retrieval(given: Given) -> Found | None:
    found: dict[Key, Source] = {}
    for group, word in (("text", "text"), ("image", "img")):
        if given.matching(rf"{word}_emb/{word}_emb_\d+\.npy"):
            found[Key("test", group, "embeddings")] = given.inside(f"{word}_emb/{word}_emb_*.npy")
    tables = [match[0] for match in given.matching(r"metadata/metadata_\d+\.parquet")]
    if found and tables:
        columns = given.shelf.open(str(Path(given.folder) / tables[0])).entries
        for group, what, column in (("text", "captions", "caption"), ("image", "titles", "image_path")):
            if column in columns and columns[column].dtype == STRING and Key("test", group, "embeddings") in found:
                found[Key("test", group, what)] = given.inside("metadata/metadata_*.parquet", column)
    return Found(found) if found else None


@layout("frozen", "a folder of Frozen-in-Time: txt_embeds_test.npy, vid_embeds_test.npy, ids_test.csv")
def _frozen(given: Given) -> Found | None:
    found: dict[Key, Source] = {}
    for match in given.matching(r"(vid_embeds|txt_embeds|ids)_([a-z]+)(_\d+)?\.(npy|csv)"):
        name = f"{match[1]}_{match[2]}{'_*' if match[3] else ''}.{match[4]}"
        if match[1] == "ids":
            found[Key(match[2], "video", "ids")] = given.inside(name, "0")
            found[Key(match[2], "text", "item_ids")] = given.inside(name, "0")
        else:
            found[Key(match[2], "video" if match[1] == "vid_embeds" else "text", "embeddings")] = given.inside(name)
    return Found(found) if any(key.field == "embeddings" for key in found) else None


def _vectors(raw: Raw) -> Source | None:
    """The one table of numbers in a file."""
    tables = [name for name, entry in raw.entries.items() if len(entry.shape) == 2 and entry.dtype != STRING]
    named = [name for name in tables if name.rsplit("/", 1)[-1].rsplit(".", 1)[-1] in ("embeddings", "embedding")]
    chosen = tables if len(tables) == 1 else named
    return Source(raw.path, chosen[0]) if len(chosen) == 1 else None


@layout("bigfile", "two BigFile folders (feature.bin, id.txt, shape.txt); text ids are VIDEO#NUMBER")
def _bigfile(given: Given) -> Found | None:
    if len(given.parts) != 2 or not all(Path(raw.path).is_dir() for raw in given.parts):
        return None
    texts, videos = (raw.path for raw in given.parts)
    return Found(
        {
            Key("test", "text", "embeddings"): Source(texts, "embeddings"),
            Key("test", "text", "ids"): Source(texts, "ids"),
            Key("test", "text", "item_ids"): Source(texts, "ids", (Transform("before", "#"),)),
            Key("test", "video", "embeddings"): Source(videos, "embeddings"),
            Key("test", "video", "ids"): Source(videos, "ids"),
        }
    )


@layout("pair", "two files with one table of vectors each: texts, then items, as in text.npy,video.npy")
def _pair(given: Given) -> Found | None:
    if len(given.parts) != 2:
        return None
    found: dict[Key, Source] = {}
    for raw, group in zip(given.parts, ("text", "video"), strict=True):
        vectors = _vectors(raw)
        if vectors is None:
            return None
        found[Key("test", group, "embeddings")] = vectors
        ends = {re.split(r"[./]", name)[-1]: name for name, entry in raw.entries.items() if entry.dtype == STRING}
        for what in ("ids", "captions", "item_ids"):
            if what in ends and (what != "item_ids" or group == "text"):
                found[Key("test", group, what)] = Source(raw.path, ends[what])
    return Found(found)


@layout("vsepp", "two files of VSE++, DBSN: five captions an image in a row, images repeated", automatic=False)
def _vsepp(given: Given) -> Found | None:
    tables = [_vectors(raw) for raw in given.parts]
    if len(tables) != 2 or tables[0] is None or tables[1] is None:
        return None
    images = Source(tables[1].path, tables[1].key, (Transform("unrepeat", "5"),))
    return Found(
        {Key("test", "text", "embeddings"): tables[0], Key("test", "image", "embeddings"): images},
        {"captions_per_item": 5},
    )


@layout("matrix", "one file with a table of scores: rows are queries, columns are items")
def _matrix(given: Given) -> Found | None:
    if len(given.parts) != 1:
        return None
    raw = given.parts[0]
    named = [name for name in raw.entries if re.split(r"[./]", name)[-1] in _SCORES]
    chosen = Source(raw.path, named[0]) if len(named) == 1 else _vectors(raw)
    if chosen is None or re.search(_VECTORS, chosen.key):
        return None
    return Found({Key("test", "scores", "values"): chosen})


_SCORES = ("scores", "sim", "sims", "similarity", "similarities", "sim_matrix", "similarity_matrix")
