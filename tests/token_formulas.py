"""Scores of words and frames in plain numpy, pair by pair, as the formulas stand in the papers; no padding is removed first."""

from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[Any]


def unit(vectors: Matrix) -> Matrix:
    norm = np.linalg.norm(vectors.astype(np.float64), axis=-1, keepdims=True)
    return vectors / np.where(norm > 0, norm, 1)


def products(words: Matrix, m: Matrix, frames: Matrix, n: Matrix, mask: str) -> Matrix:
    """(L, F) cosines of one text and one video; masked ones are 0 (`zero`) or below all others (`neginf`)."""
    s = np.full((len(words), len(frames)), 0.0 if mask == "zero" else -np.inf)
    for word in range(len(words)):
        for frame in range(len(frames)):
            if m[word] and n[frame]:
                s[word, frame] = sum(float(a) * float(b) for a, b in zip(words[word], frames[frame], strict=True))
    return s


def branch(words: Matrix, m: Matrix, a: Matrix, frames: Matrix, n: Matrix, beta: float, mask: str) -> float:
    """(t2v + v2t) / 2 of one text and one video. m, n: masks; a: word weights, of sum 1."""
    s = products(words, m, frames, n, mask)
    forth = 0.0
    for word in range(len(words)):
        if not m[word]:
            continue
        best = int(np.argmax(s[word]))
        p = s[word, best]
        near, likeness = best, 0.0
        for other in range(len(frames)):
            if other != best and n[other] and n[best]:
                cosine = float(frames[best] @ frames[other])
                if cosine > likeness:
                    near, likeness = other, cosine
        if beta and likeness:
            p = p + beta * likeness * s[word, near]
        forth += a[word] * p
    back = sum(s[:, frame].max() for frame in range(len(frames)) if n[frame]) / n.sum()
    return float(forth + back) / 2


def dmae(
    sentences: Matrix, words: Matrix | None, m: Matrix | None, weight: Matrix | None, frames: Matrix, n: Matrix,
    *, beta: float = 0.5, branches: str = "both", mask: str = "neginf",
) -> Matrix:  # fmt: skip
    """(T, V). sentences (T, D), words (T, L, D), m and weight (T, L), frames (V, F, D), n (V, F)."""
    whole, frames = unit(sentences), unit(frames)
    out = np.zeros((len(whole), len(frames)))
    for i in range(len(whole)):
        for j in range(len(frames)):
            found = []
            if branches != "word":
                found.append(branch(whole[i][None], np.ones(1), np.ones(1), frames[j], n[j], beta, mask))
            if words is not None and m is not None and branches != "sent":
                w = (m[i] if weight is None else weight[i]) * m[i]
                found.append(branch(unit(words[i]), m[i], w / w.sum(), frames[j], n[j], beta, mask))
            out[i, j] = np.mean(found)
    return out


def wti(words: Matrix, m: Matrix, a: Matrix, frames: Matrix, n: Matrix, b: Matrix, mask: str = "neginf") -> Matrix:
    """(T, V) with word weights a (T, L) and frame weights b (V, F), each of sum 1 over what is not masked."""
    words, frames = unit(words), unit(frames)
    out = np.zeros((len(words), len(frames)))
    for i in range(len(words)):
        for j in range(len(frames)):
            s = products(words[i], m[i], frames[j], n[j], mask)
            forth = sum(a[i, word] * s[word].max() for word in range(len(m[i])) if m[i, word])
            back = sum(b[j, frame] * s[:, frame].max() for frame in range(len(n[j])) if n[j, frame])
            out[i, j] = (forth + back) / 2
    return out


def maxsim(words: Matrix, m: Matrix, frames: Matrix, n: Matrix, mask: str = "neginf") -> Matrix:
    """(T, V) the sum over words of the best frame."""
    words, frames = unit(words), unit(frames)
    out = np.zeros((len(words), len(frames)))
    for i in range(len(words)):
        for j in range(len(frames)):
            s = products(words[i], m[i], frames[j], n[j], mask)
            out[i, j] = sum(s[word].max() for word in range(len(m[i])) if m[i, word])
    return out
