"""A preset in numbers against counted arithmetic, and the plan that is made of them against hand calculation."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from training_tasks import OPTIMISER

from audiolm.describe import describe_preset, stage_facts
from audiolm.presets import load_preset
from audiolm.stages import Stage, StageConfig
from audiolm.tokens import Layout
from audiolm.train_stages import StageTraining
from audiolm.transformer import TransformerConfig

ROOT = Path(__file__).parents[1]
PLAN = ROOT / "recipes" / "scaling" / "plan.py"


@pytest.fixture(scope="module")
def plan() -> ModuleType:
    spec = importlib.util.spec_from_file_location("plan_of_scaling", PLAN)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_stages_arithmetic_is_what_torch_counts() -> None:
    """Forward pass of one full crop; the counter does not see fused attention on a CPU, which is added by hand."""
    layout = Layout(kind="coarse", n_semantic=40, n_coarse=2, codebook_size=64, time_positions=True)
    shape = TransformerConfig(
        layers=2, heads=2, dim=64, ff_dim=160, dropout=0.0, positions="rope", norm="rms", feed_forward="gated"
    )
    config = StageConfig(layout=layout, transformer=shape, window=200, aligned=True)
    facts = stage_facts(config, StageTraining(optimiser=OPTIMISER, batch=1))
    rng = np.random.default_rng(0)
    stage = Stage(config).eval()
    rows = stage.batch([rng.integers(0, 40, 100)], [rng.integers(0, 64, (2, 200))], [False])
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        stage.loss(rows)
    assert facts.tokens_per_step == pytest.approx(rows.targets.shape[1], abs=3)
    assert facts.parameters == sum(value.numel() for value in stage.state_dict().values())
    length = rows.targets.shape[1]
    counted = counter.get_total_flops() + 2 * length**2 * shape.dim * shape.layers
    assert facts.flops_per_step / 3 == pytest.approx(counted, rel=0.02)


def test_the_paper_plan_adds_up(plan: ModuleType) -> None:
    preset = load_preset("paper")
    given = plan.Assumptions(gpus=16, network_gb_per_s=1e9)
    found = plan.plan(preset, given)
    rows = {row["part"]: row for row in found["parts"]}
    facts = {row.part: row for row in describe_preset(preset)}
    assert rows.keys() == facts.keys()
    coarse = rows["stage-coarse"]
    assert coarse["passes"] == pytest.approx(256 * 10 * 1e6 / (60_000 * 3600))
    assert coarse["gpu_h"] == pytest.approx(facts["stage-coarse"].flops_per_step * 1e6 / (989e12 * 0.35) / 3600)
    total_h = sum(row["gpu_h"] for row in rows.values()) + found["tokenising"]["gpu_h"]
    assert found["gpu_h"] == pytest.approx(total_h) and found["days_in_sequence"] == pytest.approx(total_h / 16 / 24)
    assert found["energy_mwh"] == pytest.approx(1.3 * total_h * (700 * 0.85 + 300) * 1.2 / 1e6)
    assert found["co2_t"] == pytest.approx(0.39 * found["energy_mwh"])
    assert found["storage"]["audio_pack"] == 60_000 * 3600 * 32_000
    assert found["storage"]["tokens"] == 60_000 * 3600 * (25 + 50 * 12) * 2


def test_a_slow_network_decides_where_it_is_slower(plan: ModuleType) -> None:
    facts = next(row for row in describe_preset(load_preset("paper")) if row.part == "w2v-bert")
    row = plan.part_plan(load_preset("paper"), facts, plan.Assumptions(gpus=4, network_gb_per_s=1.0))
    assert row["bound_by"] == "network"
    assert row["step_s"] == pytest.approx(2 * 4 * facts.parameters * 0.75 / 1e9)


def test_the_plan_as_a_user_runs_it() -> None:
    command = [
        sys.executable,
        str(PLAN),
        "--preset",
        "nano",
        "--hours",
        "100",
        "--gpu",
        "A100",
        "--gpus",
        "1",
        "--json",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["preset"] == "nano" and found["assumptions"]["hours"] == 100 and len(found["parts"]) == 7
    bad = subprocess.run([*command[:2], "--gpus", "0"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert bad.returncode != 0 and "give 1 GPU or more" in bad.stderr
