"""CLIP4Clip and the state dicts that are built like its: CLIP under `clip.`, a header over frames, heads of X-CLIP and DRL."""

from torch import Tensor

from nclbench.errors import InputError, UsageError, nearest
from nclbench.files import printable
from nclbench.models import heads_of_tokens, openai, temporal
from nclbench.models.clip import ClipEncoder, bounded
from nclbench.models.detection import temperature
from nclbench.models.encoder import Settings, Temperature
from nclbench.models.weights import Weights

HEADERS = ("auto", "meanP", "seqTransf", "seqLSTM")
# max_words of the three families' own settings, beginning and end included
_WORDS = 32
# and of their recipes where videos are short; a header has places for more
_FRAMES = 12
_ANY = 1 << 16


def open_weights(weights: Weights, family: str, settings: Settings) -> ClipEncoder:
    """The encoder of a `pytorch_model.bin.N`. family: CLIP4Clip, X-CLIP or DRL.

    The learned weights of DRL come with the features, and with them `--scorer wti` is its similarity. X-CLIP's matrices are
    checked and said in `facts`; they are not applied. InputError for a file without CLIP in it.
    """
    where = weights.where
    towers = {key.removeprefix("clip."): value for key, value in weights.tensors.items() if key.startswith("clip.")}
    rest = {key: value for key, value in weights.tensors.items() if not key.startswith("clip.")}
    if not towers:
        raise InputError(
            f"{where}: no clip.* in it, which {family}'s own code would silently fill with OpenAI's weights; save the whole "
            "model's state_dict()"
        )
    header, caution = _header(rest, settings.header, where)
    matrices = heads_of_tokens.matrices(rest, where) if family == "X-CLIP" else None
    found = openai.encoder(towers, settings, where, family, matrices.words if matrices else _WORDS)
    if matrices:
        matrices.check(found.width, settings.words, where)
    most = matrices.frames if matrices else _ANY
    if header != "meanP":
        mine = {key: value for key, value in rest.items() if key.startswith(temporal.names(header))}
        found.temporal, places = temporal.build(header, mine, found.width, where, settings.device)
        most = min(most, places)
    own = matrices.frames if matrices else _FRAMES
    found.frames = settings.frames if most == _ANY else bounded(settings.frames, own, most, "--max-frames")
    if family == "DRL":
        found.heads = heads_of_tokens.weights(rest, found.width, where)
    # X-CLIP compares words with the frames as CLIP gives them
    found.first_frames = family == "X-CLIP"
    _nothing_left(rest, family, where)
    scale, said = temperature(weights.tensors, "clip.logit_scale", where)
    if scale and family == "DRL":
        scale = Temperature(scale.scale, f"{scale.source}; DRL trains with it and does not apply it at test")
    found.temperature = scale
    # of the others only the end of a text was ever compared with frames in training
    aligned = family in ("DRL", "X-CLIP")
    found.facts |= {"header": header, "tokens_aligned": aligned, "cautions": [line for line in (caution, said) if line]}
    if matrices:
        found.facts["cautions"].append(
            f"{where}: of X-CLIP the features are made; its attention over similarity matrices is not computed, so scores made "
            "of them are not X-CLIP's"
        )
        found.facts["matrices"] = {"words": matrices.words, "frames": matrices.frames, "applied": False}
    if found.heads:
        found.facts["weights of words and frames"] = f"softmax of a head of {len(found.heads[0].layers)} layers"
    return found


def _header(rest: dict[str, Tensor], asked: str, where: str) -> tuple[str, str]:
    """The header to use, and a caution where the file was trained with another."""
    if asked not in HEADERS:
        raise UsageError(f"--header {printable(asked)!r} is unknown{nearest(asked, HEADERS)}")
    own = temporal.header_of(rest)
    if asked in ("auto", own):
        return own, ""
    if asked != "meanP":
        raise InputError(f"{where}: has no weights of {asked} (its header is {own}); leave --header out")
    return asked, f"{where} was trained with {own}, whose weights are left out because meanP was asked for"


def _nothing_left(rest: dict[str, Tensor], family: str, where: str) -> None:
    """A tensor that nobody uses means a model that is more than its family."""
    known = ("transformerClip.", "lstm_visual.", "frame_position_embeddings.", *heads_of_tokens.NAMES.get(family, ()))
    left = [key for key in rest if not key.startswith(known)]
    if left:
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        raise InputError(
            f"{where}:{printable(left[0])[:120]}{more}: no part of {family} but of a model built on it; save its features with "
            "its own code and give those to nclbench eval --emb"
        )
