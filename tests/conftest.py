"""Fixtures for every test: where the corpus is, one thread, no network."""

from __future__ import annotations

import os
import socket
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest
import torch
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

settings.register_profile("house", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("house")
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real recordings (``AUDIOLM_CORPUS``, else beside the repository); skips where there is none."""
    folder = Path(os.environ.get("AUDIOLM_CORPUS") or ROOT.parent / "shared" / "corpus")
    if not (folder / "manifest.csv").is_file():
        pytest.skip(f"no corpus at {folder}; set AUDIOLM_CORPUS to a folder with manifest.csv to run this test")
    return folder


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that reaches for another machine fails: everything here must work offline."""
    connect = socket.socket.connect

    def only_here(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = str(address[0]) if isinstance(address, tuple) else str(address)
            if host not in ("localhost", "::1") and not host.startswith("127."):
                pytest.fail(f"a test tried to reach {address}; tests run offline")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", only_here)


@pytest.fixture
def everything_is_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise in syllables, as tests make it, is no speech: without the check for speech the rest can be tested on it."""
    from detectors.speech_likeness import SpeechCheck

    monkeypatch.setattr(SpeechCheck, "problem", "")
    monkeypatch.setattr(SpeechCheck, "kept", lambda self, windows: windows)
