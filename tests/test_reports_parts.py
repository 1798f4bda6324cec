"""Parts of the report against closed forms: artefact checks, intervals, findings, policy, figures, images."""

from __future__ import annotations

import base64
import io
import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from report_run_folder import TinyRun
from scipy import stats

from reports.artefacts import open_run
from reports.audio_players import ClipDesk
from reports.context import Context
from reports.estimates import Estimate, contrast, group_contrast, minimum_detectable, paired, ratio, unanimous
from reports.figures import Anchor, DetSeries, PlotRow, det_plot, interval_plot
from reports.findings import Finding, judge, not_excluded, note
from reports.formats import number_text
from reports.operating import precision_at
from reports.policy import Rule, load_policy
from reports.sections.employment import usable_items
from reports.spectrograms import HEIGHT, WIDTH, spectrogram_levels, spectrogram_png

RULE = Rule(
    rule_id="T-1", section="quality", quantity="a rate", direction="above", source="a test",
    limits=(("minor", 0.1), ("major", 0.5)), null=0.0, cap="minor", cap_reason="it is a test", cap_roles=("codec",),
)  # fmt: skip


def estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(estimate=value, ci_low=low, ci_high=high, n_items=10, n_speakers=5)


@pytest.mark.parametrize(
    "name", ["run.json", "generations.parquet", "scores.parquet", "measures.json", "summary.parquet"]
)
def test_missing_and_truncated_files_are_named(tmp_path: Path, name: str):
    folder = TinyRun(tmp_path / "run", speakers=2, per_speaker=1).write(audio=False)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=rf"{name}: is truncated") as truncated:
        open_run(folder)
    (folder / name).unlink()
    with pytest.raises(ValueError, match=rf"{name}: missing") as missing:
        open_run(folder)
    assert "\n" not in str(missing.value) and "\n" not in str(truncated.value)


@pytest.mark.parametrize(("version", "word"), [(2, "newer"), (0, "older"), (None, "states no schema version")])
def test_other_schema_versions_are_refused(tmp_path: Path, version: int | None, word: str):
    run = TinyRun(tmp_path / "run", speakers=2, per_speaker=1)
    run.info["schema_version"] = version
    with pytest.raises(ValueError, match=rf"run\.json.*{word}"):
        open_run(run.write(audio=False))


def test_missing_column_unknown_status_and_empty_table(tmp_path: Path):
    folder = TinyRun(tmp_path / "run", speakers=2, per_speaker=1).write(audio=False)
    frame = pd.read_parquet(folder / "generations.parquet")
    frame.drop(columns="wall_s").to_parquet(folder / "generations.parquet")
    with pytest.raises(ValueError, match="lacks the column 'wall_s'"):
        open_run(folder)
    frame.assign(status="fine").to_parquet(folder / "generations.parquet")
    with pytest.raises(ValueError, match="unknown status 'fine'"):
        open_run(folder)
    frame.head(0).to_parquet(folder / "generations.parquet")
    with pytest.raises(ValueError, match="holds no item"):
        open_run(folder)


def frame_of(rates: np.ndarray, words: int = 10) -> pd.DataFrame:
    rows = [
        {
            "item_id": f"{s}-{i}",
            "utterance_id": f"u{s}-{i}",
            "speaker_id": f"s{s:02d}",
            "numerator": r,
            "denominator": words,
        }
        for s, speaker in enumerate(rates)
        for i, r in enumerate(speaker)
    ]
    return pd.DataFrame(rows)


def test_ratio_interval_matches_the_closed_form_of_a_cluster_mean():
    rng = np.random.default_rng(3)
    speakers = rng.normal(3.0, 1.0, size=(40, 1)) + np.zeros((40, 5))
    found = ratio(frame_of(speakers))
    means = speakers.mean(axis=1) / 10
    half = stats.t.ppf(0.975, 39) * means.std(ddof=1) / math.sqrt(40)
    assert found.estimate == pytest.approx(means.mean())
    assert found.ci_high - found.ci_low == pytest.approx(2 * half, rel=0.08)


def test_pairing_removes_what_speakers_share():
    rng = np.random.default_rng(5)
    base = rng.normal(5.0, 2.0, size=(12, 1)) + np.zeros((12, 4))
    left, right = frame_of(base + 1.0), frame_of(base)
    found = contrast(paired(left, right))
    assert found.estimate == pytest.approx(0.1)
    assert found.ci_high - found.ci_low < 1e-9 < ratio(left).ci_high - ratio(left).ci_low


def test_group_contrast_is_the_difference_of_contrasts():
    rng = np.random.default_rng(6)
    base = rng.normal(5.0, 1.0, size=(6, 3))
    first = paired(frame_of(base + 2.0), frame_of(base))
    second = paired(frame_of(base + 0.5), frame_of(base))
    found = group_contrast(first, second)
    assert found.estimate == pytest.approx(0.15)
    assert found.ci_low <= 0.15 <= found.ci_high and found.n_speakers == 12


def test_one_speaker_gives_no_interval_but_a_reason():
    found = ratio(frame_of(np.ones((1, 5))))
    assert not found.has_interval and "fewer than two speakers" in found.no_interval


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_unanimous_shares_keep_an_honest_bound(value: float):
    found = ratio(frame_of(np.full((5, 4), value), words=1))
    assert not ratio(frame_of(np.full((5, 4), 3.0))).has_interval
    exact = stats.binomtest(int(value * 5), 5).proportion_ci(0.95, method="exact")
    assert (found.ci_low, found.ci_high) == pytest.approx((exact.low, exact.high))
    assert unanimous(found) == found


def test_precision_is_bayes_rule():
    found = precision_at(0.01, estimate(0.9, 0.8, 1.0), estimate(0.05, 0.02, 0.1))
    assert found.estimate == pytest.approx(0.009 / (0.009 + 0.0495))
    assert found.ci_low == pytest.approx(0.008 / (0.008 + 0.099))
    assert found.ci_high == pytest.approx(0.01 / (0.01 + 0.0198))
    assert not math.isfinite(precision_at(0.01, estimate(0, 0, 0), estimate(0, 0, 0)).estimate)


@pytest.mark.parametrize(
    ("value", "low", "high", "role", "severity"),
    [
        (0.05, 0.01, 0.08, "", "info"),
        (0.2, 0.15, 0.3, "", "minor"),
        (0.6, 0.55, 0.7, "", "major"),
        (0.6, 0.55, 0.7, "codec", "minor"),
        (0.6, -0.1, 0.9, "", "info"),
        (0.1, 0.05, 0.2, "", "info"),
    ],
)
def test_severity_follows_estimate_null_and_cap(value: float, low: float, high: float, role: str, severity: str):
    finding = judge(RULE, estimate(value, low, high), measure="m", role=role)
    assert finding.severity == severity
    assert finding.n_items == 10 and finding.threshold_source == "a test"


def test_statement_says_when_the_interval_includes_the_threshold():
    assert "but the interval includes it" in judge(RULE, estimate(0.2, 0.05, 0.3), measure="m").statement
    assert "but the interval" not in judge(RULE, estimate(0.2, 0.15, 0.3), measure="m").statement


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_items": 0}, "counts no item"),
        ({"ci_low": None}, "neither an interval nor the reason"),
        ({"threshold_source": ""}, "names no source"),
        ({"severity": "bad"}, "severity 'bad'"),
        ({"estimate": float("nan")}, "needs a number"),
    ],
)
def test_a_finding_without_count_interval_or_source_is_refused(change: dict, message: str):
    good = {
        "finding_id": "T", "section": "s", "severity": "info", "statement": "x", "measure": "m", "estimate": 0.1,
        "ci_low": 0.0, "ci_high": 0.2, "interval_note": "", "n_items": 3, "n_speakers": 2, "threshold": None,
        "threshold_source": "no threshold: a test",
    }  # fmt: skip
    Finding(**good)
    with pytest.raises(ValueError, match=message):
        Finding(**(good | change))


def test_findings_are_strict_json():
    finding = note(
        "T-2", "quality", Estimate(estimate=0.5, no_interval="no interval: one speaker", n_items=3, n_speakers=1),
        statement="s", measure="m", unit="share", why_no_threshold="a test",
    )  # fmt: skip
    text = json.dumps(finding.as_dict(), allow_nan=False)
    keys = {"finding_id", "section", "severity", "statement", "measure", "estimate", "ci_low", "ci_high", "n_items",
            "n_speakers", "threshold", "threshold_source", "evidence", "interval_note", "unit", "ceiling", "floor",
            "minimum_detectable", "direction", "role", "against"}  # fmt: skip
    assert set(json.loads(text)) == keys


def test_every_shipped_threshold_and_assumption_has_a_source():
    policy = load_policy()
    assert policy.rules and all(len(rule.source) > 20 for rule in policy.rules.values())
    assert policy.assumptions and all(len(entry.source) > 20 for entry in policy.assumptions.values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema_version = 9", "schema_version is 9"),
        ("schema_version = 1\n[rules.A]\ndirection='above'\nminor=1", "has no source"),
        ("schema_version = 1\n[rules.A]\ndirection='above'\nsource='x'\nmajr=1", "did you mean 'major'"),
        ("schema_version = 1\n[rules.A]\ndirection='up'\nsource='x'\nminor=1", "direction is 'up'"),
        ("schema_version = 1\n[rules.A]\ndirection='above'\nsource='x'", "has no threshold"),
        ("schema_version = 1\n[rules.A]\ndirection='above'\nsource='x'\nminor=2\nmajor=1", "do not grow worse"),
        ("schema_version = 1\n[assumptions.w]\nvalue=3", "has no source"),
        ("schema_version = ", "cannot be read as a TOML policy"),
    ],
)
def test_a_bad_policy_is_refused(tmp_path: Path, text: str, message: str):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_policy(path)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.1234, "share", "12.3 %"), (-0.02, "share", "−2.0 %"), (0.0001, "share", "<0.1 %"), (0.0, "share", "0.0 %"),
        (1234.5, "Hz", "1,234 Hz"), (0.01234, "", "0.0123"), (float("nan"), "dB", "–"), (None, "dB", "–"),
        (135.0, "USD", "135.00 USD"), (2.5, "cosine", "2.50"),
    ],
)  # fmt: skip
def test_numbers_are_written_one_way(value: float | None, unit: str, text: str):
    assert number_text(value, unit).replace("\u00a0", " ") == text


def test_det_plot_is_well_formed_and_places_points_on_probit_axes():
    curve = DetSeries('a <b> & "c"', [1.0, 0.5, 0.1, 0.0], [0.0, 0.1, 0.5, 1.0], 0.25)
    root = ET.fromstring(det_plot([curve, curve], figure_id="f", title="t"))
    assert root.get("role") == "img" and root.get("aria-labelledby") == "f-t f-d"
    circle = next(element for element in root.iter() if element.tag.endswith("circle"))
    low, high = stats.norm.ppf(0.001), stats.norm.ppf(0.97)
    assert float(circle.get("cx", "0")) == pytest.approx(
        52 + (stats.norm.ppf(0.25) - low) / (high - low) * 336, abs=0.1
    )


@pytest.mark.parametrize("values", [[0.0], [0.2, 0.9], [-3.0, 4.0], [1e-6], [250.0, 0.1], [5.0, 5.0], []])
def test_interval_plot_keeps_everything_inside(values: list[float]):
    rows = [PlotRow("x" * 80, estimate(v, v - abs(v) / 10, v + abs(v) / 10), "main") for v in values]
    root = ET.fromstring(interval_plot(rows, figure_id="f", title="t", unit="share", anchors=[Anchor("limit", 0.27)]))
    width = float(root.get("viewBox", "").split()[2])
    dots = [element for element in root.iter() if element.tag.endswith("circle")]
    assert len(dots) == len(values)
    assert all(0 <= float(dot.get("cx", "-1")) <= width for dot in dots)


def test_spectrogram_shows_a_tone_at_its_frequency():
    rate, tone = 16_000, 2_000.0
    samples = np.sin(2 * np.pi * tone * np.arange(rate) / rate)
    levels = spectrogram_levels(samples, rate)
    assert levels.shape == (HEIGHT, WIDTH) and levels.max() == pytest.approx(0.0)
    row = int(levels[:, WIDTH // 2].argmax())
    assert (HEIGHT - 0.5 - row) / HEIGHT * 8_000 == pytest.approx(tone, abs=100)


@pytest.mark.parametrize("length", [0, 1, 399, 400, 16_000])
def test_spectrogram_png_decodes_for_any_length_and_silence(length: int):
    image = pytest.importorskip("PIL.Image")
    opened = image.open(io.BytesIO(spectrogram_png(np.zeros(length, np.float32), 16_000)))
    opened.load()
    assert opened.size == (WIDTH, HEIGHT) and opened.getcolors() is not None and len(opened.getcolors()) == 1


def test_embedded_audio_is_the_scored_audio_and_each_clip_comes_once(tmp_path: Path):
    run = TinyRun(tmp_path / "run", speakers=2, per_speaker=1)
    folder = run.write()
    desk = ClipDesk(open_run(folder))
    (first,) = desk.clips(["audiolm:codec:utt-00"])
    (again,) = desk.clips(["audiolm:codec:utt-00", "no such item"])
    samples, rate = sf.read(io.BytesIO(base64.b64decode(first.audio_uri.partition(",")[2])), dtype="int16")
    original, _ = sf.read(folder / "audio/codec/utt-00.wav", dtype="int16")
    assert rate == 16_000 and np.array_equal(samples, original)
    assert first.first and not again.first and again.anchor == first.anchor


def test_long_and_surplus_clips_are_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = TinyRun(tmp_path / "run", speakers=2, per_speaker=1).write()
    monkeypatch.setattr("reports.audio_players.EMBEDDED_CLIPS", 1)
    desk = ClipDesk(open_run(folder))
    one, two = desk.clips(["audiolm:codec:utt-00", "audiolm:codec:utt-01"])
    assert one.audio_uri and not two.audio_uri and two.href == "audio/codec/utt-01.wav"
    monkeypatch.setattr("reports.audio_players.EMBEDDED_SECONDS", 1.0)
    (long,) = ClipDesk(open_run(folder)).clips(["audiolm:codec:utt-00"])
    assert not long.audio_uri and long.href


def test_a_clip_of_a_misheard_recording_is_not_called_usable(tmp_path: Path):
    tiny = TinyRun(tmp_path)
    for row in tiny.scores:
        if row["measure"] == "errors" and row["utterance_id"] == "utt-00":
            row["value"] = 9.0
        elif row["measure"] == "errors" and row["utterance_id"] == "utt-01":
            row["value"] = 1.0
    run = open_run(tiny.write(audio=False))
    context = Context(run=run, policy=load_policy(None), desk=ClipDesk(run))
    usable = usable_items(context, "acoustic").set_index("utterance_id")
    assert usable.loc["utt-00", "value"] == 0.0 and not usable.loc["utt-00", "usable"]
    assert usable.loc["utt-01", "usable"]


def test_differences_on_which_all_agree_get_the_exact_bounds_of_both_sides():
    first, second = (frame_of(np.zeros((n, 3)), words=1) for n in (5, 4))
    found = group_contrast(paired(first, first), paired(second, second))
    bounds = [stats.binomtest(0, n).proportion_ci(0.95, method="exact").high for n in (5, 4)]
    assert found.estimate == 0.0 and (found.ci_low, found.ci_high) == pytest.approx((-bounds[1], bounds[0]))
    assert minimum_detectable(found) == pytest.approx(1.0 - 0.2 ** (1 / 4))
    assert not group_contrast(paired(frame_of(np.ones((5, 3))), first), paired(second, second)).has_interval


@pytest.mark.parametrize(
    ("high", "direction", "expected"), [(0.05, "above", "info"), (0.2, "above", "minor"), (0.6, "above", "major")]
)
def test_what_the_interval_does_not_exclude(high: float, direction: str, expected: str):
    finding = judge(RULE, estimate(0.02, 0.0, high), measure="m")
    assert finding.severity == "info" and not_excluded(finding, RULE) == expected
    assert not_excluded(finding, None) == "unknown"
