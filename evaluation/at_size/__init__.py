"""Scoring of more recordings than memory holds: rows, clips, tables and summary flow shard by shard."""

from __future__ import annotations

from evaluation.at_size.run import PARTS, StreamOptions, run_streamed

__all__ = ["PARTS", "StreamOptions", "run_streamed"]
