"""A folder as transformers saves it: configuration, weights and tokenizer, looked at before the library opens any of it."""

import json
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from nclbench.errors import InputError
from nclbench.files import printable, regular
from nclbench.models import libraries
from nclbench.models.weights import read

_LARGEST, _DEEPEST = 64 << 20, 1000
_POINTER = b"version https://git-lfs"
_CONFIGURATIONS = (
    "config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json", "generation_config.json",
)  # fmt: skip


def read_json(path: Path) -> dict[str, Any]:
    """An object of a configuration. InputError for anything else, and for one that names code to be run."""
    where = printable(path)
    if not path.is_file():
        raise InputError(f"{where}: not there; a folder of a model holds config.json, weights and a tokenizer")
    if regular(path).stat().st_size > _LARGEST:
        raise InputError(f"{where}: larger than 64 MB; that is no configuration")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON ({printable(error)})") from None
    if not isinstance(found, dict):
        raise InputError(f"{where}: holds no object; it is no configuration")
    if "auto_map" in found or "custom_pipelines" in found:
        raise InputError(f"{where}: wants code of its own to be run (auto_map), which is never done; use a model without it")
    return found


def check(folder: Path) -> None:
    """Refuses configurations that name code, before any library looks at them."""
    for name in _CONFIGURATIONS:
        if (folder / name).exists():
            read_json(folder / name)


def load(kind: type[Any], folder: Path, spared: Iterable[str] = (), **more: Any) -> Any:
    """A model of the library with every weight from the folder, in float32 and for use only.

    spared: prefixes of weights that may be missing, because nothing here asks for them. InputError for anything else that
    is missing, does not fit or cannot be read.
    """
    where = printable(folder)
    state = _weights(folder)
    library = libraries.transformers()
    said = list(_settings(read_json(folder / "config.json")))
    if any(isinstance(value, int) and "layers" in key and value > _DEEPEST for key, value in said):
        raise InputError(f"{where}/config.json: more than {_DEEPEST} layers; no model has them")
    if any(key.endswith("attn_implementation") and "/" in str(value) for key, value in said):
        raise InputError(f"{where}/config.json: wants code of a hub to be run (attn_implementation), which is never done")
    if (folder / "adapter_config.json").exists():
        raise InputError(f"{where}: holds an adapter, which is not applied here; merge it into the weights and save those")
    try:
        config = library.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model, loaded = kind.from_pretrained(
                None if state is not None else folder,
                config=config,
                state_dict=state,
                dtype="float32",
                local_files_only=True,
                use_safetensors=state is None,
                output_loading_info=True,
                **more,
            )
    except (KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:  # what a library raises on a damaged file is its own affair
        sizes = "ignore_mismatched_sizes" in str(error)
        why = "its weights are not of the sizes that its config.json says" if sizes else brief(error)
        raise InputError(f"{where}: {kind.__name__} cannot be opened ({why})") from None
    missing = sorted(name for name in loaded["missing_keys"] if not name.startswith(tuple(spared)))
    if missing:
        raise InputError(
            f"{where}: {len(missing)} weights of {kind.__name__} are missing (first {printable(missing[0])}); "
            "these are not its weights"
        )
    return model.float().eval().requires_grad_(False)


def _settings(config: Any) -> Iterator[tuple[str, Any]]:
    """Every name in a configuration with its value."""
    for key, value in config.items() if isinstance(config, dict) else ():
        yield str(key), value
        yield from _settings(value)


def _weights(folder: Path) -> dict[str, Any] | None:
    """The tensors of `pytorch_model.bin`, None where there are safetensors, which the library reads itself."""
    whole, shards = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file() or shards.is_file():
        for file in [whole] if whole.is_file() else _named(shards, ".safetensors"):
            with regular(file).open("rb") as stream:
                if stream.read(len(_POINTER)) == _POINTER:
                    raise InputError(f"{printable(file)}: a pointer of Git LFS, not the weights; run git lfs pull")
        return None
    single, index = folder / "pytorch_model.bin", folder / "pytorch_model.bin.index.json"
    if index.is_file():
        files = _named(index, ".bin")
    elif single.is_file():
        files = [single]
    else:
        raise InputError(f"{printable(folder)}: no weights; model.safetensors or pytorch_model.bin must be in it")
    found: dict[str, Any] = {}
    for file in files:
        found |= read(file).tensors
    return found


def _named(index: Path, ending: str) -> list[Path]:
    """The files of an index, which are in its folder and of its kind: the library would follow it anywhere."""
    named = read_json(index).get("weight_map")
    names = sorted({str(name) for name in named.values()}) if isinstance(named, dict) else []
    if not names or any(Path(name).name != name or not name.endswith(ending) for name in names):
        raise InputError(f"{printable(index)}: names no {ending} files of this folder")
    return [index.parent / name for name in names]


def brief(error: Exception) -> str:
    """The first line of what a library says, safe to print."""
    text = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return printable(text.strip())[:160]
