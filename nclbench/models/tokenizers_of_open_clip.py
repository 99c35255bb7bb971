"""The tokenizer that a configuration of open_clip asks for: CLIP's own, or one whose files are here."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from nclbench.errors import InputError
from nclbench.files import printable
from nclbench.models.encoder import Settings
from nclbench.models.libraries import open_clip, transformers
from nclbench.models.openai import VOCABULARY

# of a configuration's tokenizer_kwargs; others would reach the library's loader, which can be told to run code of a folder
_HARMLESS = {"clean", "strip_sep_token", "language", "reduction_mask"}


def tokenizer(
    text: dict[str, Any], words: int, folder: Path | None, settings: Settings, where: str
) -> Callable[..., Tensor]:
    """captions -> (n, words) ids. InputError where its files would have to be downloaded, or its settings go too far."""
    given = text.get("tokenizer_kwargs") or {}
    strange = sorted(set(given) - _HARMLESS) if isinstance(given, dict) else ["(not an object)"]
    if strange:
        raise InputError(
            f"{where}: its tokenizer_kwargs hold {printable(strange[0])[:60]}, which is not passed on; take it out"
        )
    named = text.get("hf_tokenizer_name")
    vocabulary = int(text.get("vocab_size", VOCABULARY))
    if named is None and vocabulary == VOCABULARY and not given:
        return partial(open_clip().tokenize, context_length=words)
    if named is None and vocabulary == VOCABULARY:
        found: Callable[..., Tensor] = open_clip().SimpleTokenizer(context_length=words, **given)
        return found
    place = Path(settings.extras["tokenizer"]) if "tokenizer" in settings.extras else folder
    if place is None or not any(
        (place / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt")
    ):
        said = printable(named)[:80] if named else f"of {vocabulary} words"
        raise InputError(
            f"{where}: its tokenizer ({said}) is not beside it, and nothing is downloaded; give open_clip's hub folder"
        )
    transformers()
    try:
        return open_clip().tokenizer.HFTokenizer(  # type: ignore[no-any-return]
            str(place),
            context_length=words,
            tokenizer_mode=text.get("tokenizer_mode"),
            trust_remote_code=False,
            local_files_only=True,
            **given,
        )
    except MemoryError:
        raise
    except Exception as error:
        said = printable((str(error).splitlines() or [type(error).__name__])[0])[:160]
        raise InputError(f"{printable(place)}: its tokenizer cannot be opened ({said})") from None
