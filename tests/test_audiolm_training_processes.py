"""One process, accumulated parts and two processes take the same training steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from training_tasks import codec_task, curve, stage_task, w2v_bert_task

from audiolm.runtime import Runtime, resolve_device

ROOT = Path(__file__).parent.parent
LOCAL = ("perplexity",)
"""Logged only: codes in use are counted within a part."""
Curves = dict[str, list[dict[str, float]]]


def largest_difference(a: list[dict[str, float]], b: list[dict[str, float]]) -> float:
    assert len(a) == len(b) and all(x.keys() == y.keys() for x, y in zip(a, b, strict=True))
    return max(abs(x[k] - y[k]) for x, y in zip(a, b, strict=True) for k in x if k not in LOCAL)


@pytest.fixture(scope="module")
def alone() -> Curves:
    return {
        "stage": curve(stage_task()),
        "w2v_bert": curve(w2v_bert_task()),
        "codec": curve(codec_task(quantize_from=0)),
    }


def test_accumulated_parts_equal_the_big_batch(alone: Curves) -> None:
    assert largest_difference(alone["stage"], curve(stage_task(Runtime(accumulate=4)))) < 1e-5
    assert largest_difference(alone["w2v_bert"], curve(w2v_bert_task(Runtime(accumulate=2)))) < 1e-5
    halves = curve(codec_task(Runtime(accumulate=2), quantize_from=0))
    assert largest_difference(alone["codec"], halves) < 1e-4
    assert alone["stage"][0]["loss"] != alone["stage"][1]["loss"]


def test_two_processes_equal_one(alone: Curves, tmp_path: Path) -> None:
    pytest.importorskip("lightning_fabric", reason="several processes need the extra 'scale'")
    script = str(ROOT / "tests" / "training_tasks.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*command, str(tmp_path / "curves.json")], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    two = json.loads((tmp_path / "curves.json").read_text())
    for name, curves in alone.items():
        assert largest_difference(curves, two[name]) < 1e-4, name
    assert largest_difference(alone["stage"], two["fsdp"]) < 1e-4


@pytest.mark.parametrize("name", ["stage", "w2v_bert", "codec"])
def test_bfloat16_products_give_nearly_the_same_losses(name: str, alone: Curves) -> None:
    half = Runtime(precision="bf16-mixed")
    task = {"stage": stage_task, "w2v_bert": w2v_bert_task}.get(name, codec_task)(half)
    losses = task.training_step(0)
    for key, value in alone[name][0].items():
        if key in ("loss", "masked", "contrastive", "diversity", "mel", "spectral", "log_spectrum"):
            assert losses[key] == pytest.approx(value, rel=0.05) and losses[key] != value or key == "diversity"
    weights = [weight.dtype for weight in task.optimiser.module.parameters()]
    assert set(map(str, weights)) == {"torch.float32"}


def test_a_batch_that_cannot_be_shared_out_is_refused() -> None:
    with pytest.raises(ValueError, match="batch of 4 rows cannot be cut evenly for 1 processes x 3 parts"):
        stage_task(Runtime(accumulate=3)).training_step(0)
    with pytest.raises(ValueError, match="use auto, cpu or cuda"):
        resolve_device("tpu")
    with pytest.raises(ValueError, match="use one of 32, bf16-mixed"):
        Runtime(precision="fp8")
