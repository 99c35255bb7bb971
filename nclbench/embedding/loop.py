"""Batch after batch through the encoder, each into a shard; what a shard already holds is not made again."""

import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from nclbench.embedding.job import Job, Request, item_batches, sampling, text_batches
from nclbench.embedding.parts import Array, Parts
from nclbench.errors import InputError
from nclbench.files import printable
from nclbench.media.decoding import UndecodableError, pictures
from nclbench.media.listing import Medium
from nclbench.models.encoder import Encoder, Features

Report = Callable[[str, float, float], None]
# videos are decoded on other threads than the one that encodes; ffmpeg has threads of its own
_DECODERS = 2


def run(request: Request, job: Job, encoder: Encoder, parts: Parts, report: Report) -> None:
    """All shards of the texts and of the media. What is interrupted keeps what it has."""
    _texts(job, request, encoder, parts, report)
    if job.media:
        _media(job, request, encoder, parts, report)


def _texts(job: Job, request: Request, encoder: Encoder, parts: Parts, report: Report) -> None:
    texts = job.texts
    todo = [(name, rows) for name, rows in text_batches(request, job) if not parts.has(name)]
    done = len(texts) - sum(rows.stop - rows.start for _, rows in todo)
    report("embedding texts", done, len(texts))
    for name, rows in todo:
        found = _by_length(texts[rows], request.batch, encoder)
        arrays = _arrays(found, texts[rows], "tokens" in request.parts, request.dtype, job.queries.origin)
        parts.write(name, arrays, {"rows": rows.stop - rows.start, "cut": found.cut})
        done += rows.stop - rows.start
        report("embedding texts", done, len(texts))


def _by_length(texts: Sequence[str], batch: int, encoder: Encoder) -> Features:
    """Captions of like length in one batch, which saves most of the padding; given back in their own order."""
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    found = [encoder.texts([texts[row] for row in order[at : at + batch]]) for at in range(0, len(texts), batch)]
    back = torch.tensor(order).argsort()

    def joined(given: Sequence[Tensor | None]) -> Tensor | None:
        values = [each for each in given if each is not None]
        if not values:
            return None
        most = max(each.shape[1] for each in values)
        wide = [torch.cat([each, each.new_zeros(len(each), most - each.shape[1], *each.shape[2:])], dim=1) for each in values]
        return torch.cat(wide)[back]

    masks = [each.mask if each.mask is not None or each.parts is None else _all(each.parts) for each in found]
    whole = torch.cat([each.whole for each in found])[back]
    weights, cut = joined([each.weight for each in found]), sum(each.cut for each in found)
    return Features(whole, joined([each.parts for each in found]), joined(masks), weights, cut)


def _all(parts: Tensor) -> Tensor:
    return torch.ones(parts.shape[:2], device=parts.device) > 0


def _media(job: Job, request: Request, encoder: Encoder, parts: Parts, report: Report) -> None:
    """The next batch is decoded while one is encoded."""
    media = job.media
    todo = [(name, media[rows]) for name, rows in item_batches(request, job, encoder.frames) if not parts.has(name)]
    stage = f"embedding {request.kind}"
    done = len(media) - sum(len(batch) for _, batch in todo)
    report(stage, done, len(media))
    stop = threading.Event()
    how = sampling(request, encoder.frames)

    def decoded(medium: Medium) -> tuple[list[Tensor], str]:
        return pictures(medium, request.kind, how, encoder.prepared, stop.is_set)

    with warnings.catch_warnings(), ThreadPoolExecutor(_DECODERS) as pool:
        # of pillow, about single pictures: filters hold for all threads, so they are set once around them
        warnings.simplefilter("ignore")
        try:
            coming = [pool.submit(decoded, medium) for medium in todo[0][1]] if todo else []
            for at, (name, batch) in enumerate(todo):
                seen, shown, skipped, damaged = _gathered(batch, coming)
                coming = [pool.submit(decoded, medium) for medium in todo[at + 1][1]] if at + 1 < len(todo) else []
                said = {"rows": len(seen), "ids": [medium.id for medium in seen], "skipped": skipped, "damaged": damaged}
                arrays = {}
                if seen:
                    found = encoder.videos(*_padded(shown))
                    frames = "frames" in request.parts and request.kind != "images"
                    arrays = _arrays(found, [medium.id for medium in seen], frames, request.dtype, str(request.gallery))
                parts.write(name, arrays, said)
                done += len(batch)
                report(stage, done, len(media))
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _gathered(
    batch: Sequence[Medium], coming: "Sequence[Future[tuple[list[Tensor], str]]]"
) -> tuple[list[Medium], list[list[Tensor]], list[list[str]], list[list[str]]]:
    """Media with their frames, and those that show nothing, or not all, each with the reason."""
    seen, shown, skipped, damaged = [], [], [], []
    for medium, future in zip(batch, coming, strict=True):
        try:
            frames, note = future.result()
        except UndecodableError as error:
            skipped.append([medium.id, str(error)])
        else:
            seen.append(medium)
            shown.append(frames)
            if note:
                damaged.append([medium.id, note])
    return seen, shown, skipped, damaged


def _padded(shown: Sequence[Sequence[Tensor]]) -> tuple[Tensor, Tensor]:
    """(n, F, 3, H, W) and (n, F), F the most that one has."""
    most = max(len(frames) for frames in shown)
    values = torch.zeros(len(shown), most, *shown[0][0].shape)
    counts = torch.tensor([len(frames) for frames in shown])
    for row, frames in enumerate(shown):
        values[row, : len(frames)] = torch.stack(list(frames))
    return values, torch.arange(most) < counts[:, None]


def _arrays(found: Features, names: Sequence[str], wanted: bool, dtype: str, where: str) -> dict[str, Array]:
    """What a shard holds, checked: a number that is not finite is an error of the model or of the precision."""
    whole = found.whole.numpy()
    _check(whole.reshape(len(names), -1), names, where, "the checkpoint gives")
    arrays = {"whole": whole}
    if wanted and found.parts is not None:
        mask = _all(found.parts) if found.mask is None else found.mask
        values = found.parts.masked_fill(~mask[..., None], 0).numpy().astype(dtype)
        _check(values.reshape(len(names), -1), names, where, f"words or frames in {dtype} are")
        arrays |= {"parts": values, "mask": mask.numpy()}
        if found.weight is not None:
            arrays["weight"] = found.weight.masked_fill(~mask, 0).numpy()
    return arrays


def _check(values: Array, names: Sequence[str], where: str, what: str) -> None:
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise InputError(f"{printable(where)}: of {printable(names[bad[0]])[:60]!r} {what} NaN or infinity; nothing is written")
