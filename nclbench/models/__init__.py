"""Checkpoints become encoders: captions and frames -> vectors."""
