"""Word weights from parts of speech, by a spaCy pipeline that is installed or lies in a folder.

A folder is settings, tables of strings and arrays; what it names is looked up among what spaCy and installed packages
registered, so that no code of its own is ever run. An installed pipeline is a package, and is imported like any other.
"""

import warnings
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.errors import InputError, MissingError
from nclbench.files import printable
from nclbench.problem import Embeddings

# universal parts of speech that the authors' code counts twice, unless the word is a stop word
CONTENT = ("NOUN", "ADJ", "VERB")
_UNUSED = ("parser", "ner", "lemmatizer", "senter", "textcat", "entity_linker")


@dataclass(frozen=True, eq=False)
class Tagger:
    """name: as the user gave it. said: pipeline, version and what spaCy warns of, for a note."""

    name: str
    pipeline: Any
    said: str


@lru_cache(maxsize=4)
def tagger(name: str) -> Tagger:
    """MissingError without spaCy or without this pipeline, InputError for a folder that is not one."""
    where = printable(name)
    try:
        import spacy
        from spacy.util import get_installed_models, load_model_from_path
    except ImportError:
        raise MissingError("dmae:ta=pos needs spaCy; pip install 'nclbench[pos]', or write weights and use ta=given") from None
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.cfg").is_file():
            raise InputError(f"{where}: no config.cfg; tagger=FOLDER must be a pipeline that spaCy's to_disk wrote")
    elif name not in get_installed_models():
        what = "no such folder" if "/" in name else "no such spaCy pipeline is installed"
        raise MissingError(
            f"{where}: {what}; python -m spacy download en_core_web_md, or give tagger=NAME of "
            "another, or tagger=FOLDER of one on this machine"
        )
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            # by path for a folder: spaCy would import a package of the same name
            unused = list(_UNUSED)
            pipeline = load_model_from_path(folder, exclude=unused) if folder.is_dir() else spacy.load(name, exclude=unused)
    except Exception as error:
        reason = " ".join(printable(error).split())[:160]
        # numpy's own message tells how to switch its protection off
        reason = "it holds more than arrays" if "pickle" in reason else reason
        raise InputError(f"{where}: spaCy cannot load this pipeline ({reason}); install or save it anew") from None
    meta = pipeline.meta
    said = f"words are tagged by {meta['lang']}_{meta['name']} {meta['version']} of spaCy {version('spacy')}"
    other = any("[W095]" in str(warning.message) for warning in heard)
    return Tagger(name, pipeline, printable(said) + (", which it was not made for" if other else ""))


def weights(side: Embeddings, name: str) -> npt.NDArray[np.float64]:
    """(N, L) of word vectors: 2 for those of nouns, adjectives and verbs that are no stop words, 1 for others.

    A piece of a word counts as the word, a token of no characters once. side: with captions, and tokens with spans.
    """
    tokens, captions = side.tokens, side.captions
    assert tokens is not None and tokens.spans is not None and captions is not None
    where = tokens.origin or side.origin or "texts"
    found = np.ones(tokens.mask.shape)
    content = _content(captions, name, side.origin or where)
    for row, (caption, words) in enumerate(zip(captions, content, strict=True)):
        there = tokens.mask[row]
        start, end = tokens.spans[row, there].T
        beyond = np.flatnonzero(end > len(caption))
        if len(beyond):
            token = np.flatnonzero(there)[beyond[0]]
            raise InputError(
                f"{where}: span of row {row}, token {token} ends at character {end[beyond[0]]} of a caption of {len(caption)}; "
                "captions and spans must be those of the same text"
            )
        inside = np.zeros(len(caption) + 1, dtype=np.int64)
        for first, last in words:
            inside[first + 1 : last + 1] = 1
        before = inside.cumsum()
        found[row, there] += before[end] > before[start]
    if not (found[tokens.mask] > 1).any():
        raise InputError(
            f"{where}: none of the word vectors is of a noun, an adjective or a verb by {printable(name)}; mend tokens/spans, or "
            "use another tagger or ta=none"
        )
    return found


@lru_cache(maxsize=8)
def _content(captions: tuple[str, ...], name: str, where: str) -> tuple[tuple[tuple[int, int], ...], ...]:
    """For every caption the characters, from and to, of its words of content."""
    pipeline = tagger(name).pipeline
    longest = max(range(len(captions)), key=lambda row: len(captions[row]))
    if len(captions[longest]) > pipeline.max_length:
        raise InputError(f"{where}: caption {longest} has {len(captions[longest])} characters, too many to be tagged; cut it")
    different = list(dict.fromkeys(captions))
    found, tagged = {}, False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for text, doc in zip(different, pipeline.pipe(different), strict=True):
            tagged = tagged or any(word.pos for word in doc)
            found[text] = tuple(
                (word.idx, word.idx + len(word)) for word in doc if word.pos_ in CONTENT and not word.is_stop
            )
    if not tagged:
        raise InputError(f"{printable(name)}: this pipeline sets no parts of speech (Doc.pos_); use one with a tagger")
    return tuple(found[text] for text in captions)
