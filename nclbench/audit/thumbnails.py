"""Small pictures of items from local files, inlined: the page loads nothing."""

from base64 import b64encode
from io import BytesIO
from pathlib import Path

import numpy as np

from nclbench.audit.states import Direction
from nclbench.errors import InputError, MissingError
from nclbench.files import printable

ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
_SIZE = (144, 81)
# of all pictures together, as text; and how many a direction may have of those that stand out
_BYTES, _MANY = 1_500_000, 400


def load(folder: str, directions: list[Direction]) -> dict[str, str]:
    """Data URIs by item id, of the items that are shown most and least first, until there is no room for more.

    A file is named ID.jpg, .jpeg, .png or .webp. Raises InputError for one that is no picture.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise MissingError("thumbnails need Pillow; pip install pillow") from None
    root = Path(folder)
    if not root.is_dir():
        raise MissingError(f"{printable(folder)}: no such folder")
    files = {path.stem: path for path in sorted(root.iterdir()) if path.suffix.lower() in ENDINGS and path.is_file()}
    found: dict[str, str] = {}
    room = _BYTES
    for name in _wanted(directions):
        if name not in files or name in found:
            continue
        try:
            with Image.open(files[name]) as picture:
                small = picture.convert("RGB")
                small.thumbnail(_SIZE)
        except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
            raise InputError(f"{printable(files[name])}: not a picture that can be read ({printable(error)})") from None
        packed = BytesIO()
        small.save(packed, "JPEG", quality=70)
        text = "data:image/jpeg;base64," + b64encode(packed.getvalue()).decode("ascii")
        room -= len(text)
        if room < 0:
            break
        found[name] = text
    return found


def _wanted(directions: list[Direction]) -> list[str]:
    """Ids by how much they stand out."""
    names: list[str] = []
    for direction in directions:
        order = np.argsort(-direction.occurrence(direction.reference), kind="stable")
        ends = np.stack([order, order[::-1]], 1).ravel()[: 2 * _MANY]
        names += [str(direction.reference.items["id"][at]) for at in ends]
    return list(dict.fromkeys(names))
