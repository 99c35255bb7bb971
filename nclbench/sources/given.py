"""What the user pointed at, as layouts see it: names, shapes and dtypes, never values."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from nclbench.files import printable
from nclbench.sources.containers import Shelf
from nclbench.sources.raw import Raw
from nclbench.sources.source import Source

MAX_NAMES = 10_000


@dataclass(frozen=True)
class Given:
    """What the user pointed at: one file, two (texts, then items), or a folder with the names of the files in it."""

    shelf: Shelf
    parts: tuple[Raw, ...] = ()
    folder: str = ""
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, paths: list[str], shelf: Shelf) -> "Given":
        if len(paths) == 1 and Path(paths[0]).is_dir() and not (Path(paths[0]) / "feature.bin").exists():
            return cls(shelf, folder=paths[0], names=_names(Path(paths[0])))
        return cls(shelf, tuple(shelf.open(path) for path in paths))

    def matching(self, pattern: str) -> list[re.Match[str]]:
        """The files of the folder whose whole relative name fits a regular expression."""
        return [match for name in self.names if (match := re.fullmatch(pattern, name))]

    def inside(self, name: str, key: str = "") -> Source:
        return Source(str(Path(self.folder) / name), key)

    def describe(self) -> str:
        """What is there, for a message that no layout fits."""
        if self.folder:
            return ", ".join(printable(name) for name in self.names[:8]) or "nothing"
        shapes = [f"{printable(name)} {entry.shape}" for raw in self.parts for name, entry in raw.entries.items()]
        return ", ".join(shapes[:8]) or "nothing"


def _names(folder: Path) -> tuple[str, ...]:
    found: list[str] = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = Path(place).relative_to(folder)
        if len(relative.parts) > 2 or len(found) > MAX_NAMES:
            folders.clear()
            continue
        found += [(relative / name).as_posix() for name in files if not name.startswith(".")]
    return tuple(sorted(found))
