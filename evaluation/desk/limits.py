"""What a request to the desk may cost."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Size, time and number; every value is positive.

    ``clip_bytes``: largest clip; ``clip_s``: longest clip; ``receive_s``: for a whole request to arrive; ``send_s``:
    for an answer to be taken; ``examine_s``: for the detector to judge; ``queue_s``: how long a clip waits for the one
    before it; ``connections``: at a time.
    """

    clip_bytes: int = 25_000_000
    clip_s: float = 600.0
    receive_s: float = 30.0
    send_s: float = 120.0
    examine_s: float = 60.0
    queue_s: float = 30.0
    connections: int = 16

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise ValueError(f"limit {field.name} is {value}; give a number above 0")
