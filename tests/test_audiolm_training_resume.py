"""A run that is killed at any moment and resumed writes the log and the weights of an undisturbed one."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training_tasks import codec_task, stage_task, w2v_bert_task

from audiolm.energy import EnergyMeter, training_summary
from audiolm.training import LoopConfig, TrainingTask, train

ROOT = Path(__file__).parent.parent
TASKS: dict[str, Callable[[], TrainingTask]] = {"codec": codec_task, "w2v_bert": w2v_bert_task, "stage": stage_task}
STEPS = 10
LOOP = {"log_every": 1, "validate_every": 5, "save_every": 3}
CHILD = """
import sys
sys.path[:0] = [{root!r}, {root!r} + "/tests"]
from pathlib import Path
import test_audiolm_training_resume as own
print("ready", flush=True)
own.train(own.TASKS[sys.argv[1]](), Path(sys.argv[2]), own.LoopConfig(steps=own.STEPS, **own.LOOP), resume=True)
"""


def curve(folder: Path) -> list[tuple[str, str, str]]:
    with (folder / "log.csv").open(newline="") as stream:
        return [(row["step"], row["name"], row["value"]) for row in csv.DictReader(stream)]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "export" / "model.safetensors")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    for name, make in TASKS.items():
        train(make(), folder / name, LoopConfig(steps=STEPS, **LOOP))
    return folder


@pytest.mark.parametrize("name", TASKS)
def test_a_task_that_breaks_goes_on_exactly(name: str, whole: Path, tmp_path: Path) -> None:
    """Between two saved states: steps 7 and 8 are logged, lost and done again."""
    task = TASKS[name]()
    step = task.training_step

    def breaking(number: int) -> dict[str, float]:
        if number == 8:
            raise KeyboardInterrupt
        return step(number)

    task.training_step = breaking  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        train(task, tmp_path, LoopConfig(steps=STEPS, **LOOP))
    assert curve(tmp_path)[-1][0] == "8"
    record = train(TASKS[name](), tmp_path, LoopConfig(steps=STEPS, **LOOP), resume=True)
    assert curve(tmp_path) == curve(whole / name)
    expected, found = weights(whole / name), weights(tmp_path)
    assert expected.keys() == found.keys() and all(torch.equal(expected[key], found[key]) for key in expected)
    assert record["finished"] and record["steps"] == STEPS


def test_kill_minus_nine_at_a_random_moment(whole: Path, tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD.format(root=str(ROOT)), "stage", str(tmp_path)]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    patience_s = time.monotonic() + 60
    while not (tmp_path / "state" / "state.json").exists() and time.monotonic() < patience_s:
        time.sleep(0.01)
    time.sleep(random.Random().uniform(0.0, 0.2))
    child.send_signal(signal.SIGKILL)
    child.wait()
    (tmp_path / "log.csv").open("a").write("9,0.1,lo")
    train(stage_task(), tmp_path, LoopConfig(steps=STEPS, **LOOP), resume=True)
    assert curve(tmp_path) == curve(whole / "stage")
    assert all(torch.equal(value, weights(tmp_path)[key]) for key, value in weights(whole / "stage").items())


def test_sigterm_ends_between_two_steps_with_the_state_saved(whole: Path, tmp_path: Path) -> None:
    task = stage_task()
    step = task.training_step

    def told(number: int) -> dict[str, float]:
        if number == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(number)

    task.training_step = told  # type: ignore[method-assign]
    record = train(task, tmp_path, LoopConfig(steps=STEPS, **LOOP))
    assert record["steps"] == 5 and not record["finished"]
    assert json.loads((tmp_path / "state" / "state.json").read_text())["loop"]["step"] == 5
    train(stage_task(), tmp_path, LoopConfig(steps=STEPS, **LOOP), resume=True)
    assert curve(tmp_path) == curve(whole / "stage")


def test_a_run_leaves_curves_energy_and_its_machine(whole: Path) -> None:
    record = json.loads((whole / "stage" / "training.json").read_text())
    stored = json.loads((whole / "stage" / "export" / "config.json").read_text())["record"]
    assert stored["energy"] == record["energy"] and stored["hardware"] == record["hardware"]
    energy = record["energy"]
    assert energy["energy_wh"] == pytest.approx(energy["cpu_energy_wh"] + energy["gpu_energy_wh"], abs=1e-3)
    assert energy["cpu_core_s"] > 0 and energy["sources"]
    assert record["versions"]["torch"] == torch.__version__.partition("+")[0] or record["versions"]["torch"]
    with (whole / "stage" / "curves.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["step"] for row in rows] == [str(step) for step in range(1, STEPS + 1)]
    losses = {row[0]: row[2] for row in curve(whole / "stage") if row[1] == "loss"}
    assert all(row["loss"] == losses[row["step"]] for row in rows)
    best = min(float(row[2]) for row in curve(whole / "stage") if row[1] == "valid_loss")
    assert record["best"]["measure"] == "loss" and record["best"]["value"] == best
    pytest.importorskip("matplotlib", reason="the picture needs the extra 'train'")
    assert (whole / "stage" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_what_a_models_making_took_adds_up(tmp_path: Path) -> None:
    records = {
        "codec": {"wall_s": 10.0, "hardware": "a", "energy": {"energy_wh": 1.5, "sources": ["measured"]}},
        "semantic": {"w2v_bert": {"wall_s": 4.0, "hardware": "b", "energy": {"energy_wh": 0.5, "sources": ["guess"]}}},
        "stage_fine": {"wall_s": 1.0, "hardware": "a"},
    }
    for part, record in records.items():
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text(json.dumps({"record": record}))
    assert training_summary(tmp_path, records) == {
        "wall_s": 15.0,
        "hardware": ["a", "b"],
        "energy_wh": 2.0,
        "energy_sources": ["measured", "guess"],
        "parts_without_energy_record": ["stage_fine"],
    }


def test_energy_is_read_from_rapl_where_it_can_be(tmp_path: Path) -> None:
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    (zone / "max_energy_range_uj").write_text("10000000")
    (zone / "energy_uj").write_text("9000000")
    meter = EnergyMeter(rapl=tmp_path)
    (zone / "energy_uj").write_text("2600000")  # it started over at 10 J: 3.6 J were used
    reading = meter.reading()
    assert reading["cpu_energy_wh"] == pytest.approx(0.001) and reading["cpu_energy_source"].startswith("measured")
    guess = EnergyMeter(rapl=tmp_path / "none").reading()
    assert guess["cpu_energy_source"].startswith("estimate: 10 W") and guess["gpu_energy_wh"] == 0


def test_tensorboard_gets_the_logged_values(whole: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra 'train'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # pyright: ignore[reportMissingImports]

    events = EventAccumulator(str(whole / "stage" / "tensorboard"))
    events.Reload()
    found = {event.step: event.value for event in events.Scalars("loss")}
    logged = {int(row[0]): float(row[2]) for row in curve(whole / "stage") if row[1] == "loss"}
    assert found == pytest.approx(logged, rel=1e-6)
