"""What caption files look like. Each becomes rows of an item, a text, and where there are any a name and a split."""

import csv
import gzip
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nclbench.archives import FREE_BYTES, RATIO
from nclbench.errors import InputError
from nclbench.files import printable, regular
from nclbench.media.names import stem

ITEM_COLUMNS = (
    "video_id", "video", "video_path", "videoid", "image_id", "image", "image_path", "youtube_id", "file_name",
    "fname", "filename", "filepath", "audio", "clip_id", "item_id", "item", "vid_key",
)  # fmt: skip
_TEXTS = (
    "sentence", "caption", "captions", "raw_text", "text", "description", "raw", "sentences", "raw_caption", "query", "name",
)  # fmt: skip
_NAMES = ("caption_id", "query_id", "audiocap_id", "sen_id", "sentid", "key", "id")
_LARGEST = 4 << 30


@dataclass(frozen=True)
class Row:
    """One caption. name: what the file calls it, '' for nothing."""

    item: str
    text: str
    name: str = ""
    split: str = ""


@dataclass(frozen=True)
class Table:
    """paragraphs: whether the texts of one item are sentences of one paragraph."""

    rows: list[Row]
    paragraphs: bool = False


def read(path: Path) -> Table:
    """By the ending: .csv .tsv .json .jsonl, anything else is text by lines; .gz may follow. InputError, MissingError."""
    text = text_of(path)
    where = printable(path)
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix in (".csv", ".tsv"):
        return Table(list(_columns(text, "\t" if suffix == ".tsv" else ",", where)))
    if suffix == ".jsonl":
        lines = [(f"{where}, line {number}", line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        return Table([row for place, line in lines for row in _object(_parsed(line, place), place)])
    if suffix == ".json":
        return _document(_parsed(text, where), where)
    return Table(list(_lines(text, where)))


def text_of(path: Path) -> str:
    """A text file whole, in UTF-8. InputError where it is not one."""
    where = printable(path)
    packed = regular(path).name.endswith(".gz")
    stored = path.stat().st_size
    most = min(max(FREE_BYTES, RATIO * stored), _LARGEST) if packed else _LARGEST
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as stream:
            data = stream.read(most + 1)
        if len(data) > most:
            raise InputError(f"{where}: {stored} bytes that hold more than {most}; not a plausible file of captions")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except (OSError, EOFError) as error:
        raise InputError(f"{where}: cannot be read ({printable(error)})") from None


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON ({printable(error)})") from None


def _columns(text: str, delimiter: str, where: str) -> Iterator[Row]:
    csv.field_size_limit(1 << 24)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise InputError(f"{where}, line {reader.line_num}: {printable(error)}") from None
    header = list(reader.fieldnames or ())
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{where}: has the column {printable(twice)!r} twice, so it is not clear which one counts")
    if not any(_text_columns(header)):
        raise InputError(f"{where}: no column of captions (found {printable(', '.join(header))}); call one 'caption'")
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise InputError(f"{where}, row {number}: not as many fields as the header has ({len(header)})")
        yield from _object(row, f"{where}, row {number}")


def _text_columns(names: list[str]) -> list[str]:
    """The one column of texts, or several that are numbered, as Clotho's caption_1 to caption_5."""
    one = [name for name in _TEXTS if name in names][:1]
    return one or [name for name in names if re.fullmatch(r"(caption|sentence|text)_?[0-9]+", name)]


def _object(row: Any, where: str) -> Iterator[Row]:
    """One record with one text or a list of them."""
    if not isinstance(row, Mapping):
        raise InputError(f"{where}: {type(row).__name__} where a record with a caption was expected")
    columns = _text_columns([str(name) for name in row])
    if not columns:
        raise InputError(f"{where}: no caption; call its field 'caption'")
    named = next((name for name in ITEM_COLUMNS if row.get(name) not in (None, "")), None)
    item = str(row[named] if named else "" if row.get("id") is None else row["id"]).strip()
    if not item:
        raise InputError(f"{where}: no id of what it describes; name a field video_id or image_id")
    if "start" in row and "end" in row:  # clips of one video
        item = f"{stem(item)}_{row['start']}_{row['end']}"
    name = next((str(row[key]) for key in _NAMES if row.get(key) not in (None, "") and (key != "id" or named)), "")
    texts = [text for column in columns for text in _texts(row[column], where)]
    for text in texts:
        yield Row(item, text, name if len(texts) == 1 else "", str(row.get("split") or ""))


def _texts(value: Any, where: str) -> list[str]:
    """A text, a list of them, or of records with one each."""
    found = value if isinstance(value, list) else [value]
    texts: list[Any] = [each.get("raw") or each.get("caption") if isinstance(each, Mapping) else each for each in found]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise InputError(f"{where}: a caption is {type(value).__name__}, not a text")
    if not all(text.strip() for text in texts):
        raise InputError(f"{where}: an empty caption; remove it")
    return [text.strip() for text in texts]


def _document(found: Any, where: str) -> Table:
    if isinstance(found, list):
        if all(isinstance(each, str) for each in found):
            texts = [_texts(each, f"{where}, entry {at}")[0] for at, each in enumerate(found)]
            return Table([Row(str(at), text) for at, text in enumerate(texts)])
        return Table([row for at, each in enumerate(found) for row in _object(each, f"{where}, entry {at}")])
    if not isinstance(found, dict):
        raise InputError(f"{where}: {type(found).__name__}; captions are a list or an object")
    for key in ("annotations", "sentences", "images"):
        records = found.get(key)
        if isinstance(records, list) and all(isinstance(each, dict) for each in records):
            named = _file_names(found) if key == "annotations" else {}
            given = [(f"{where}, {key} {at}", _renamed(each, named)) for at, each in enumerate(records)]
            return Table([row for place, each in given for row in _object(each, place)])
    rows: list[Row] = []
    paragraphs = False
    for item, value in found.items():
        place = f"{where}, {printable(item)}"
        if isinstance(value, dict):
            columns = _text_columns([str(name) for name in value])
            if not columns:
                raise InputError(f"{place}: no caption; call its field 'caption' or 'sentences'")
            paragraphs |= columns == ["sentences"] and "timestamps" in value
            value = [text for column in columns for text in _texts(value[column], place)]
        rows += [Row(item, text) for text in _texts(value, place)]
    return Table(rows, paragraphs)


def _file_names(found: Mapping[str, Any]) -> dict[str, str]:
    """COCO: the files of its pictures by their numbers."""
    images = found.get("images") or []
    known = [each for each in images if isinstance(each, dict) and {"id", "file_name"} <= each.keys()]
    return {str(each["id"]): str(each["file_name"]) for each in known}


def _renamed(record: Mapping[str, Any], names: Mapping[str, str]) -> Mapping[str, Any]:
    name = names.get(str(record.get("image_id")))
    return record if name is None else {**record, "image_id": name}


def _lines(text: str, where: str) -> Iterator[Row]:
    """`item.jpg#0<tab>text` as Flickr8k, `item<tab>text`, or a text alone, which describes the thing of its row."""
    lines = text.removesuffix("\n").split("\n")
    numbered = [re.fullmatch(r"(\S+?)#(?:enc#)?([0-9]+)[\t ]+(.*)", line.rstrip("\r")) for line in lines]
    tabbed = all(line.count("\t") == 1 for line in lines)
    for number, (line, match) in enumerate(zip(lines, numbered, strict=True), 1):
        place = f"{where}, line {number}"
        if numbered[0] is not None:
            if match is None:
                raise InputError(f"{place}: not `item#number caption`, as the first line is")
            yield Row(match[1], _texts(match[3], place)[0], f"{stem(match[1])}#{match[2]}")
        elif tabbed:
            item, _, said = line.partition("\t")
            yield Row(item, _texts(said, place)[0])
        else:
            yield Row(str(number - 1), _texts(line, place)[0])
