"""Sinkhorn's potentials, by passes over a kernel of exponentials that is kept or made again."""
