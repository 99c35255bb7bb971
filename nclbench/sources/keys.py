"""Canonical keys: the names that every layout and every `--map` is translated into.

    SPLIT/MODALITY/FIELD          test/text/embeddings; without SPLIT it is `test`
    SPLIT/relevance/FIELD         query_ids, item_ids, grade: one row a relevant pair
    SPLIT/scores/values           (N, M) queries x items, where there are no vectors to multiply
    SPLIT/MODALITY/tokens/FIELD   words or frames: values, mask, weights, offsets, spans
    bank/MODALITY/FIELD           bank/text is the query bank, bank/video the item bank; bank.train/text works too
    dataset, split, model, similarity, logit_scale, captions_per_item, labelled, tokens_aligned: attributes, given as they are

FIELD is one of embeddings, ids, item_ids (the id of a query's item), item_index (its row), captions, titles,
weight, mask. tokens/values is (N, L, D) with tokens/mask (N, L), or (tokens, D) with tokens/offsets (N + 1,);
tokens/spans (N, L, 2) are the characters of the caption that each token stands for.
bank/text/scores is (B, M) bank queries x items, bank/video/scores (N, B) queries x bank items.
Dots and slashes mean the same. Queries are `query` or `text`, items are `item`, `video`, `image`, `audio` or `frame`.
"""

import re
from dataclasses import dataclass

from nclbench.errors import UsageError, nearest

QUERY_SETS = ("query", "text")
ITEM_SETS = ("item", "video", "image", "audio", "frame")
FIELDS = ("embeddings", "ids", "item_ids", "item_index", "captions", "titles", "weight", "mask")
TOKENS = ("values", "mask", "offsets", "weights", "spans")
RELEVANCE = ("query_ids", "item_ids", "grade")
ATTRIBUTES = (
    "dataset",
    "split",
    "model",
    "similarity",
    "logit_scale",
    "captions_per_item",
    "labelled",
    "tokens_aligned",
    "fitted_on",
    "adjusted_for",
)
_SINGULAR = {"embedding": "embeddings", "id": "ids", "item_id": "item_ids", "caption": "captions", "title": "titles"}
_PAIR = {"query_id": "query_ids", "item_id": "item_ids"}


@dataclass(frozen=True)
class Key:
    """split: `test`, `bank`, …; group: a modality, `relevance` or `scores`."""

    split: str
    group: str
    field: str

    def __str__(self) -> str:
        return f"{self.split}/{self.group}/{self.field}"

    @property
    def is_bank(self) -> bool:
        return self.split == "bank" or self.split.startswith(("bank.", "bank_"))

    @property
    def role(self) -> str:
        """queries, items, query_bank, item_bank, relevance or scores."""
        if self.group in QUERY_SETS:
            return "query_bank" if self.is_bank else "queries"
        if self.group in ITEM_SETS:
            return "item_bank" if self.is_bank else "items"
        return self.group


def recognise(name: str) -> Key | None:
    """The key that a dataset's name is, in our own schema; None for any other name."""
    words = re.split(r"[./]", name.strip("/."))
    if len(words) > 2 and words[-2] == "tokens":
        words = [*words[:-2], "/".join(words[-2:])]
    if len(words) > 3 and words[0] == "bank" and words[-2:] == ["scores", "values"]:
        words.pop()
    if len(words) > 3 and words[0] == "bank":
        words = [".".join(words[:-2]), *words[-2:]]
    if len(words) == 2:
        words = ["test", *words]
    if len(words) != 3 or not words[0]:
        return None
    split, group, field = words
    if group == "relevance":
        field = _PAIR.get(field, field)
        return Key(split, group, field) if field in RELEVANCE else None
    if group == "scores":
        return Key(split, group, field) if field == "values" and not split.startswith("bank") else None
    key = Key(split, group, _SINGULAR.get(field, field))
    known = FIELDS + tuple(f"tokens/{name}" for name in TOKENS) + (("scores",) if key.is_bank else ())
    return key if group in QUERY_SETS + ITEM_SETS and key.field in known else None


def parse(text: str) -> Key:
    """A canonical key as a user writes it; UsageError with the nearest match otherwise."""
    key = recognise(text)
    if key is None:
        known = [f"test.{group}.{field}" for group in ("text", "video") for field in FIELDS]
        known += [f"test.{group}.tokens.{name}" for group in ("text", "video") for name in TOKENS]
        known += ["test.scores.values", "bank.text.embeddings", "bank.video.embeddings", *ATTRIBUTES]
        known += [f"test.relevance.{field}" for field in RELEVANCE]
        raise UsageError(f"unknown key {text!r} in a mapping{_near(text, known)}")
    return key


def _near(text: str, known: list[str]) -> str:
    """Words in common say more than letters: `text` means `test.text.embeddings` rather than `dataset`."""
    words = set(re.split(r"[._/]", text))
    shared = max(len(words.intersection(name.split("."))) for name in known)
    choices = [name for name in known if len(words.intersection(name.split("."))) == shared]
    found = nearest(text.replace("/", "."), choices)
    return f"; did you mean {choices[0]!r}?" if shared and "did you mean" not in found else found
