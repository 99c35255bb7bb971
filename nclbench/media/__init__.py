"""What is encoded: captions from benchmarks' own files, and the videos, frames or pictures that they describe."""

from nclbench.media.captions import Captions, read_captions
from nclbench.media.listing import KINDS, Medium, listed

__all__ = ["KINDS", "Captions", "Medium", "listed", "read_captions"]
