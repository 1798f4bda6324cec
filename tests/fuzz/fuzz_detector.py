"""Atheris on the detector reader; see harness.py."""

from __future__ import annotations

from harness import fuzz

if __name__ == "__main__":
    fuzz("detector")
