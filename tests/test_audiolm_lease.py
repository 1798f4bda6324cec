"""What the kit for a lent GPU packs comes back as it was."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

PLACE = Path(__file__).resolve().parents[1] / "recipes" / "nano" / "lease" / "ten_bits.py"


@pytest.mark.skipif(not PLACE.is_file(), reason="the recipes lie in a checkout only")
def test_ten_bits_hold_every_code_and_a_third_of_them_is_saved() -> None:
    spec = importlib.util.spec_from_file_location("ten_bits", PLACE)
    if spec is None or spec.loader is None:
        pytest.fail(f"{PLACE} cannot be imported")
    ten_bits = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ten_bits)
    every = np.arange(1024, dtype=np.int16)
    codes = {
        7: np.stack([every, every[::-1]]),
        2: np.array([[1023], [0]], dtype=np.int16),
        9: every[None, :3].repeat(2, 0),
    }
    stored = ten_bits.packed(codes)
    found = ten_bits.unpacked(stored)
    assert found.keys() == codes.keys()
    for index, row in codes.items():
        assert np.array_equal(found[index], row)
    assert stored["low"].nbytes + stored["high"].nbytes == pytest.approx(
        0.625 * sum(row.nbytes for row in codes.values()), abs=4
    )
