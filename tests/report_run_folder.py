"""A tiny finished run folder for the report tests: every table of the contract, with pandas and soundfile alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile as sf

RATE_HZ = 16_000
SYSTEM = "audiolm"
ROLES = ("reference", "codec", "acoustic", "continuation", "shuffled")
MEAN = {"aggregate": "mean", "numerator": "", "denominator": ""}


def measure(scorer: str, name: str, **fields: Any) -> dict[str, Any]:
    """An entry of ``measures.json``."""
    entry = {
        "scorer": scorer, "scorer_title": scorer.replace("_", " ").capitalize(), "measure": name,
        "title": name.replace("_", " ").capitalize(), "unit": "", "direction": "none", "meaning": f"meaning of {name}",
        "source": "written for the tests", "low": None, "high": None, "protocol": {"rate": "16 kHz"}, **MEAN,
    }  # fmt: skip
    return {**entry, **fields}


MEASURES = [
    measure("word_error", "errors", aggregate="none"),
    measure("word_error", "words", aggregate="none"),
    measure("word_error", "wer", title="Word error rate", unit="share", direction="lower", low=0.0,
            aggregate="ratio_of_sums", numerator="errors", denominator="words"),
    measure("speaker_similarity", "cosine", title="Speaker similarity", direction="higher", low=-1.0, high=1.0),
    measure("speaker_similarity", "accepted", title="Accepted as the same speaker", unit="share", low=0.0, high=1.0),
    measure("acoustic_consistency", "f0_difference", title="Pitch difference", unit="semitones", direction="lower"),
    measure("acoustic_consistency", "level_difference", title="Loudness difference", unit="dB", direction="lower"),
    measure("detector:tiny", "llr", title="Log-likelihood ratio", unit="nats"),
    measure("detector:tiny", "flagged", title="Called synthetic", unit="share", low=0.0, high=1.0),
]  # fmt: skip


def comparison(**fields: Any) -> dict[str, Any]:
    """A row of ``comparisons.json``."""
    row = {
        "kind": "stage", "scorer": "word_error", "measure": "wer", "role": "codec", "against": "reference", "axis": "",
        "group": "", "value": 0.15, "against_value": 0.05, "difference": 0.1, "low": 0.05, "high": 0.15, "p": 0.03,
        "p_holm": 0.12, "p_bh": 0.06, "n_items": 12, "n_speakers": 4,
    }  # fmt: skip
    return {**row, **fields}


class TinyRun:
    """Builds a run folder step by step; change ``items``, ``scores`` or ``info`` before :meth:`write`."""

    def __init__(self, folder: Path, *, speakers: int = 4, per_speaker: int = 3, roles: Sequence[str] = ROLES,
                 origin: str = "human", groups: bool = True) -> None:  # fmt: skip
        self.folder = folder
        self.rng = np.random.default_rng(7)
        self.measures = list(MEASURES)
        self.items: list[dict[str, Any]] = []
        self.scores: list[dict[str, Any]] = []
        self.curves: list[dict[str, Any]] = []
        self.comparisons: list[dict[str, Any]] = []
        self.shortcuts: list[dict[str, Any]] = []
        self.info = _info(origin)
        self.groups = groups
        for number in range(speakers * per_speaker):
            for role in roles:
                self._item(f"utt-{number:02d}", f"speaker-{number % speakers}", number % speakers, role, origin)

    def _item(self, utterance: str, speaker: str, voice: int, role: str, origin: str) -> None:
        item = {
            "item_id": f"{SYSTEM}:{role}:{utterance}", "utterance_id": utterance, "speaker_id": speaker,
            "system": SYSTEM, "role": role, "seed": 7, "audio_path": f"audio/{role}/{utterance}.wav",
            "sample_rate_hz": RATE_HZ, "duration_s": 2.0, "prompt_s": 1.0, "transcript": "a plain sentence to say",
            "origin": origin, "wall_s": {"codec": 0.1, "acoustic": 3.0, "continuation": 4.0}.get(role, 0.0),
            "status": "ok", "reason": "", "content_sha256": "0" * 64, "config_sha256": "1" * 64,
        }  # fmt: skip
        if self.groups:
            item |= {"group:gender": ("female", "male")[voice % 2], "group:accent": f"accent {voice % 2}"}
        self.items.append(item)
        stage = {"reference": 0, "codec": 1, "acoustic": 4, "continuation": 5, "recorded": 3, "shuffled": 6}[role]
        if role != "continuation":
            errors = min(10, stage + voice % 2 + int(self.rng.integers(0, 2)))
            self.score(item, "word_error", errors=errors, words=10)
        if role != "recorded":
            cosine = {"reference": 0.85, "codec": 0.8, "acoustic": 0.7, "continuation": 0.5, "shuffled": 0.2}[role]
            cosine += float(self.rng.normal(0, 0.05))
            self.score(item, "speaker_similarity", cosine=cosine, accepted=float(cosine > 0.5))
            self.score(item, "acoustic_consistency", f0_difference=stage * 0.8, level_difference=stage * 0.5)
        if role != "shuffled":
            llr = (2.0 if stage < 2 else -1.5) + float(self.rng.normal(0, 1.5))
            self.score(item, "detector:tiny", llr=llr, flagged=float(llr < 0))

    def score(self, item: dict[str, Any], scorer: str, status: str = "ok", reason: str = "", **values: float) -> None:
        """Rows of one scorer for one item."""
        for name, value in values.items():
            self.scores.append(
                {"schema_version": 1, "run_id": "tiny", **{k: item[k] for k in ("item_id", "utterance_id", "speaker_id",
                 "system", "role")}, "scorer": scorer, "measure": name, "value": float(value), "status": status,
                 "reason": reason, "scorer_version": "1+abc"}
            )  # fmt: skip

    def lose(self, item_id: str, status: str, reason: str) -> None:
        """Turn an item and its scores into rows without value."""
        for row in (*self.items, *self.scores):
            if row["item_id"] == item_id:
                row |= {"status": status, "reason": reason} | ({"value": float("nan")} if "value" in row else {})

    def write(self, *, audio: bool = True) -> Path:
        """Write all files and give the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        columns = ["schema_version", "run_id", "item_id", "utterance_id", "speaker_id", "system", "role", "scorer",
                   "measure", "value", "status", "reason", "scorer_version"]  # fmt: skip
        items, scores = pd.DataFrame(self.items), pd.DataFrame(self.scores, columns=columns)
        items.to_parquet(self.folder / "generations.parquet")
        scores.to_parquet(self.folder / "scores.parquet")
        summarise(items, scores, self.measures).to_parquet(self.folder / "summary.parquet")
        self._json("run.json", self.info)
        self._json("measures.json", self.measures)
        if self.comparisons:
            self._json("comparisons.json", self.comparisons)
        self._json("curves.json", {"det": self.curves or det_curves(scores), "shortcuts": self.shortcuts})
        for item in items.to_dict("records") if audio else ():
            if item["status"] == "ok" and not str(item["audio_path"]).startswith(("/", "..")):
                path = self.folder / item["audio_path"]
                path.parent.mkdir(parents=True, exist_ok=True)
                sf.write(path, _voice_like(item["role"], int(item["utterance_id"][-2:])), RATE_HZ, subtype="PCM_16")
        return self.folder

    def _json(self, name: str, value: Any) -> None:
        (self.folder / name).write_text(json.dumps(value), encoding="utf-8")


def _info(origin: str) -> dict[str, Any]:
    return {
        "schema_version": 1, "run_id": "tiny", "command": "audiolm-audit audit --out tiny", "status": "complete",
        "prompts": {"source": "test prompts", "origin": origin, "n_utterances": 12},
        "system": {"name": SYSTEM, "checkpoint": "nano",
                   "description": {"sha256": "ab" * 32, "training": {"hours": 1.5, "steps": 4000}}},
        "evaluators": [{"name": "detector:tiny", "version": "1+abc", "fingerprint": {"weights": "cd" * 32},
                        "status": "ready", "sentence": "shipped weights"},
                       {"name": "word_error:whisper", "version": "1", "fingerprint": {}, "status": "missing",
                        "sentence": "openai-whisper is not installed", "extra": "whisper"}],
        "seeds": {"run": 7, "bootstrap": 7}, "packages": {"numpy": np.__version__},
        "machine": {"device": "cpu", "logical_cpus": 2, "memory_gb": 8.0}, "times": {"generate_s": 12.5},
        "counts": {"generations": {"codec": {"ok": 12}}},
    }  # fmt: skip


def summarise(items: pd.DataFrame, scores: pd.DataFrame, measures: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """A plain summary with normal-theory intervals over speakers: enough for a reader, not the harness's own."""
    slices = [("all", "", set(items["utterance_id"]))]
    for column in (name for name in items.columns if name.startswith("group:")):
        for value in sorted(items[column].dropna().unique()):
            inside = set(items.loc[items[column] == value, "utterance_id"])
            slices.append((column.removeprefix("group:"), value, inside))
    cells: dict[tuple[str, str, str, str], list[dict[str, Any]]] = {}
    for row in scores.to_dict("records"):
        cells.setdefault((row["system"], row["role"], row["scorer"], row["measure"]), []).append(row)
    places = sorted({key[:3] for key in cells})
    rows = []
    for group_by, group, inside in slices:
        for entry in (entry for entry in measures if entry["aggregate"] != "none"):
            is_ratio = entry["aggregate"] == "ratio_of_sums"
            for system, role, scorer in (place for place in places if place[2] == entry["scorer"]):
                key = (system, role, scorer)
                above = cells.get((*key, entry["numerator"] if is_ratio else entry["measure"]), [])
                below = cells.get((*key, entry["denominator"]), []) if is_ratio else above
                above, below = ([row for row in side if row["utterance_id"] in inside] for side in (above, below))
                place = {"system": system, "role": role, "group_by": group_by, "group": group}
                rows.append(
                    {**place, "scorer": scorer, "measure": entry["measure"], **_numbers(above, below, is_ratio)}
                )
    names = ["system", "role", "group_by", "group", "scorer", "measure", "estimate", "ci_low", "ci_high", "confidence",
             "method", "n_items", "n_speakers", "n_skipped", "n_failed"]  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def _numbers(above: list[dict[str, Any]], below: list[dict[str, Any]], is_ratio: bool) -> dict[str, Any]:
    """Estimate, interval over speakers and counts of one cell."""
    good = [row for row in above if row["status"] == "ok"]
    bottoms = [row["value"] if is_ratio else 1.0 for row in below if row["status"] == "ok"]
    value = sum(row["value"] for row in good) / sum(bottoms) if bottoms else float("nan")
    per: dict[str, list[float]] = {}
    for row, bottom in zip(good, bottoms, strict=True):
        per.setdefault(row["speaker_id"], []).append(row["value"] / bottom)
    means = [float(np.mean(values)) for values in per.values()]
    half = 1.96 * float(np.std(means, ddof=1)) / np.sqrt(len(means)) if len(means) > 1 else float("nan")
    statuses = [row["status"] for row in above]
    return {
        "estimate": value,
        "ci_low": value - half,
        "ci_high": value + half,
        "confidence": 0.95,
        "method": "normal theory over speakers",
        "n_items": len(good),
        "n_speakers": len(means),
        "n_skipped": statuses.count("skipped"),
        "n_failed": statuses.count("failed"),
    }


def det_curves(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Curves of each generated role against codec and reference, straight from the definition."""
    llr = scores[(scores["measure"] == "llr") & (scores["status"] == "ok")]
    curves = []
    for synthetic in ("acoustic", "continuation", "recorded"):
        for bona_fide in ("codec", "reference"):
            real = llr.loc[llr["role"] == bona_fide, "value"].to_numpy()
            made = llr.loc[llr["role"] == synthetic, "value"].to_numpy()
            if not len(real) or not len(made):
                continue
            thresholds = np.append(np.unique(np.concatenate([real, made])), np.inf)
            miss = [float(np.mean(real < t)) for t in thresholds]
            alarm = [float(np.mean(made >= t)) for t in thresholds]
            at = int(np.argmin(np.abs(np.subtract(miss, alarm))))
            eer = (miss[at] + alarm[at]) / 2
            curves.append(
                {"detector": "tiny", "bona_fide": bona_fide, "synthetic": synthetic, "p_false_alarm": alarm,
                 "p_miss": miss, "eer": eer, "ci_low": max(0.0, eer - 0.1), "ci_high": eer + 0.1,
                 "n_bona_fide": len(real), "n_synthetic": len(made),
                 "bona_fide_source": f"human recordings of this run, {bona_fide}"}
            )  # fmt: skip
    return curves


def _voice_like(role: str, number: int) -> np.ndarray:
    """Two seconds of harmonics with a moving pitch, or noise for the shuffled role."""
    time = np.arange(2 * RATE_HZ) / RATE_HZ
    pitch = 110.0 + 8.0 * number + 25.0 * np.sin(2 * np.pi * 1.3 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE_HZ
    tone = sum(np.sin(phase * k) / k for k in range(1, 18))
    envelope = 0.5 + 0.5 * np.sin(2 * np.pi * 3.0 * time + len(role))
    noise = np.random.default_rng(number).normal(0, 0.02 if role != "shuffled" else 0.2, len(time))
    return np.clip(0.15 * tone * envelope + noise, -1, 1)
