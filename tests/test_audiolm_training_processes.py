"""One process, accumulated parts and two processes take the same training steps."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from training_tasks import HALF, LOOP, codec_task, curve, delayed_task, parallel_task, stage_task, w2v_bert_task

from audiolm.runtime import Runtime, resolve_device
from audiolm.training import train

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
        "parallel": curve(parallel_task()),
        "delayed": curve(delayed_task()),
    }


def test_accumulated_parts_equal_the_big_batch(alone: Curves) -> None:
    assert largest_difference(alone["stage"], curve(stage_task(Runtime(accumulate=4)))) < 1e-5
    assert largest_difference(alone["w2v_bert"], curve(w2v_bert_task(Runtime(accumulate=2)))) < 1e-5
    halves = curve(codec_task(Runtime(accumulate=2), quantize_from=0))
    assert largest_difference(alone["codec"], halves) < 1e-4
    assert largest_difference(alone["parallel"], curve(parallel_task(Runtime(accumulate=2)))) < 1e-5
    assert largest_difference(alone["delayed"], curve(delayed_task(Runtime(accumulate=2)))) < 1e-5
    assert alone["stage"][0]["loss"] != alone["stage"][1]["loss"]


def launch(mode: str, path: Path, *options: str) -> subprocess.Popen[str]:
    """``torchrun`` on tests/training_tasks.py."""
    script = str(ROOT / "tests" / "training_tasks.py")
    command = [sys.executable, "-m", "torch.distributed.run", *options, script, mode, str(path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def finish(*launchers: subprocess.Popen[str]) -> None:
    try:
        for launcher in launchers:
            _, errors = launcher.communicate(timeout=300)
            assert launcher.returncode == 0, errors[-3000:]
    finally:
        for launcher in launchers:
            launcher.kill()


def logged(folder: Path) -> list[tuple[str, str, str]]:
    with (folder / "log.csv").open(newline="") as stream:
        return [(row["step"], row["name"], row["value"]) for row in csv.DictReader(stream)]


def weights(folder: Path) -> bytes:
    return (folder / "export" / "model.safetensors").read_bytes()


def farthest(a: Path, b: Path) -> float:
    """Largest difference of a logged value of two runs of the same steps."""
    one, two = logged(a), logged(b)
    assert [row[:2] for row in one] == [row[:2] for row in two] and len(one) > 40
    return max(abs(float(x[2]) - float(y[2])) for x, y in zip(one, two, strict=True))


def test_two_processes_equal_one(alone: Curves, tmp_path: Path) -> None:
    pytest.importorskip("lightning_fabric", reason="several processes need the extra 'scale'")
    finish(launch("curves", tmp_path / "curves.json", "--standalone", "--nproc-per-node", "2"))
    two = json.loads((tmp_path / "curves.json").read_text())
    assert len(two) == 8
    for name, curves in two.items():
        assert largest_difference(curves, alone[name.removesuffix(" fsdp")]) < 1e-4, name


def test_two_nodes_equal_one_process(alone: Curves, tmp_path: Path) -> None:
    """Two launchers that meet at an address, one process each: as on two machines."""
    pytest.importorskip("lightning_fabric", reason="several processes need the extra 'scale'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    meet = ("--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-endpoint", address)
    nodes = [launch("stage", tmp_path / "curves.json", *meet, "--local-addr", "127.0.0.1") for _ in range(2)]
    finish(*nodes)
    two = json.loads((tmp_path / "curves.json").read_text())
    for name, curves in two.items():
        assert largest_difference(curves, alone["stage"]) < 1e-4, name


def test_a_run_goes_on_with_another_number_of_processes(tmp_path: Path) -> None:
    pytest.importorskip("lightning_fabric", reason="several processes need the extra 'scale'")
    train(stage_task(), tmp_path / "alone", LOOP)
    for strategy in ("ddp", "fsdp"):
        train(stage_task(), tmp_path / f"one-{strategy}", HALF)
    finish(launch("resize", tmp_path, "--standalone", "--nproc-per-node", "2"))
    for strategy in ("ddp", "fsdp"):
        assert json.loads((tmp_path / f"{strategy}-one" / "state" / "state.json").read_text())["loop"]["step"] == 10
        train(stage_task(), tmp_path / f"{strategy}-one", LOOP, resume=True)
        assert farthest(tmp_path / f"{strategy}-one", tmp_path / "alone") < 1e-4
        assert farthest(tmp_path / f"one-{strategy}", tmp_path / "alone") < 1e-4
    once_more = tmp_path / "killed-run"
    once_more.mkdir()
    finish(launch("elastic", once_more, "--standalone", "--nproc-per-node", "2", "--max-restarts", "1"))
    assert (once_more / "killed").exists()
    assert logged(once_more) == logged(tmp_path / "whole") and weights(once_more) == weights(tmp_path / "whole")


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
