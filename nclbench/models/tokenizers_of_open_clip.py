"""The tokenizer that a configuration of open_clip asks for: CLIP's own, or one whose files are here."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from nclbench.errors import InputError
from nclbench.files import printable
from nclbench.models.libraries import open_clip, transformers
from nclbench.models.openai import VOCABULARY

# of a configuration's tokenizer_kwargs; others would reach the library's loader, which can be told to run code of a folder
_HARMLESS = {"clean", "strip_sep_token", "language", "reduction_mask"}
_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt")


def tokenizer(text: dict[str, Any], words: int, folder: Path | None, where: str) -> Callable[..., Tensor]:
    """captions -> (n, words) ids. InputError where its files would have to be downloaded, or its settings go too far."""
    given = text.get("tokenizer_kwargs") or {}
    strange = sorted(set(given) - _HARMLESS) if isinstance(given, dict) else ["(not an object)"]
    if strange:
        raise InputError(
            f"{where}: its tokenizer_kwargs hold {printable(strange[0])[:60]}, which is not passed on; take it out"
        )
    named, vocabulary = text.get("hf_tokenizer_name") or None, text.get("vocab_size", VOCABULARY)
    if named is None and vocabulary == VOCABULARY:
        if not given:
            return partial(open_clip().tokenize, context_length=words)
        return _opened(lambda: open_clip().SimpleTokenizer(context_length=words, **given), where)
    if folder is None or not any((folder / name).is_file() for name in _FILES):
        said = printable(named)[:80] if named else f"of {printable(vocabulary)[:20]} words"
        raise InputError(
            f"{where}: its tokenizer ({said}) is not beside it, and nothing is downloaded; give open_clip's hub folder"
        )
    transformers()
    more = {"tokenizer_mode": text.get("tokenizer_mode"), "trust_remote_code": False, "local_files_only": True}
    kind = open_clip().tokenizer.HFTokenizer
    return _opened(lambda: kind(str(folder), context_length=words, **more, **given), printable(folder))


def _opened(maker: Callable[[], Any], where: str) -> Callable[..., Tensor]:
    try:
        found: Callable[..., Tensor] = maker()
    except MemoryError:
        raise
    except Exception as error:  # whatever a library raises on files and settings from outside
        said = printable((str(error).splitlines() or [""])[0])[:160]
        raise InputError(f"{where}: its tokenizer cannot be opened ({type(error).__name__}: {said})") from None
    return found
