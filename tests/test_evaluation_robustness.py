"""The robustness card: rates, partial fakes and the filter search against detectors whose answers are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

import detectors
from audiolm.audio import AudioClip, write_audio
from detectors import Verdict
from detectors.labelled import BONA_FIDE, LabelledClip
from evaluation.bootstrap import Resampler
from evaluation.cli import main
from evaluation.robustness_clips import in_turn
from evaluation.robustness_filter import FilterSearch, filter_response, search_filter
from evaluation.robustness_page import card_markdown
from evaluation.robustness_partial import join_partial, localisation, partial_clips
from evaluation.robustness_rates import Judged, rates

RATE_HZ = 16_000


def tone(hz: float, seconds: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(int(seconds * RATE_HZ))
    return (0.2 * np.sin(2 * np.pi * hz * np.arange(noise.size) / RATE_HZ) + 0.002 * noise).astype(np.float32)


class Pitch:
    """Calls what is above 1 kHz synthetic, per half second; abstains under 1 s."""

    name, sample_rate_hz, threshold_llr = "mel_cnn", RATE_HZ, 0.0

    def load(self, path: str | None = None, device: str = "cpu") -> Pitch:
        return self

    def judge(self, samples: np.ndarray, sample_rate_hz: int) -> Verdict:
        if samples.size < RATE_HZ:
            return Verdict(llr=None, reason="short")
        windows = []
        for first in range(0, samples.size - RATE_HZ // 2 + 1, RATE_HZ // 8):
            power = np.abs(np.fft.rfft(samples[first : first + RATE_HZ // 2])) ** 2
            share = power[500:].sum() / power.sum()
            at = first / RATE_HZ
            windows.append((at, at + 0.5, 4.0 - 8.0 * share))
        return Verdict(llr=float(np.mean([llr for _, _, llr in windows])), timeline=tuple(windows))

    def describe(self):
        return {"weights_sha256": "f" * 64}


def clips(count: int = 6) -> list[LabelledClip]:
    made = []
    for number in range(count):
        for generator, hz in ((BONA_FIDE, 300.0), ("buzz", 2_000.0)):
            made.append(
                LabelledClip(
                    samples=tone(hz + number, 7.0, number),
                    generator=generator,
                    speaker_id=f"s{number % 3}",
                    utterance_id=f"{generator}-{number}",
                    split="test",
                )
            )
    return made


def test_rates_are_shares_of_those_with_a_verdict_and_intervals_are_over_speakers():
    judged = [
        Judged(True, "a", "", -1.0),
        Judged(True, "b", "", 1.0),
        Judged(True, "b", "", None),
        Judged(False, "c", "", 2.0),
    ]
    found = rates(judged, 0.0, Resampler(seed=0))
    assert found["miss"]["share"] == 0.5 and found["miss"]["speakers"] == 2
    assert found["false_alarm"]["share"] == 1.0 and found["false_alarm"]["low"] is None
    assert found["abstained_bona_fide"]["share"] == pytest.approx(1 / 3, abs=1e-6)
    assert rates(judged[2:3], 0.0, Resampler(seed=0))["eer_interpolated"] is None


def test_generators_then_speakers_take_turns():
    chosen = in_turn(clips(), 6)
    assert [clip.generator for clip in chosen[:2]] == [BONA_FIDE, "buzz"]
    assert len({(clip.generator, clip.speaker_id) for clip in chosen}) == 6


def test_joined_parts_keep_their_level_and_say_where_they_are():
    samples, spans = join_partial([(tone(300, 1.0), False), (0.01 * tone(2_000, 2.0), True), (tone(300, 1.0), False)])
    assert len(spans) == 1 and spans[0] == pytest.approx((0.995, 2.99), abs=0.001)
    middle, first = samples[RATE_HZ + 500 : 2 * RATE_HZ], samples[: RATE_HZ - 500]
    assert np.std(middle) == pytest.approx(np.std(first), rel=0.02)


def test_an_oracle_finds_every_seam_and_invents_none():
    partials = partial_clips(clips(), 4, seed=0)
    assert {one.kind for one in partials} == {"genuine throughout", "synthetic end", "synthetic middle"}
    found = localisation(Pitch(), partials, 0.0, Resampler(seed=0))
    assert found["seam_within_0.5_s"]["share"] == 1.0 and found["genuine_with_a_seam"]["share"] == 0.0
    assert found["median_seam_error_s"] < 0.3 and found["f1"] > 0.9 and found["grid_eer"] < 0.1


def test_the_search_finds_a_filter_that_dulls_and_without_gain_stays_plain():
    noise = [np.random.default_rng(k).standard_normal(RATE_HZ).astype(np.float32) for k in range(2)]

    def dull(filtered):
        power = np.abs(np.fft.rfft(filtered[0])) ** 2
        return float(-np.log(power[4_000:].sum() / power.sum()))

    plan = FilterSearch(rounds=6, population=12, clip_s=2.0, seed=1)
    response, history = search_filter(noise, dull, plan)
    assert response.size == 513 and history == sorted(history) and history[-1] > dull(noise) + 0.2
    assert np.linalg.norm(response) == pytest.approx(1.0)
    plain = filter_response(np.zeros(48))
    assert int(np.argmax(np.abs(plain))) == 64 and abs(plain[64]) > 0.999
    with pytest.raises(ValueError, match="rounds is at least 1"):
        FilterSearch(rounds=0)


def test_the_verb_writes_card_page_and_figure_and_keeps_earlier_parts(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(detectors, "discover", lambda: {detectors.DEFAULT_DETECTOR: Pitch()})
    (tmp_path / "audio").mkdir()
    lines = []
    for clip in clips():
        write_audio(tmp_path / "audio" / f"{clip.utterance_id}.wav", AudioClip.from_array(clip.samples, RATE_HZ))
        key = ("-", "bonafide") if clip.is_bona_fide else (clip.generator, "spoof")
        lines.append(f"{clip.speaker_id} {clip.utterance_id} - {key[0]} {key[1]}")
    protocol = tmp_path / "p.txt"
    protocol.write_text("\n".join(lines))
    arguments = ["detect-card", "--protocol", str(protocol), "--audio", str(tmp_path / "audio"), "--clips", "4"]
    assert main([*arguments, "--out", str(tmp_path / "card"), "--parts", "generators,short"]) == 0
    assert main([*arguments, "--out", str(tmp_path / "card"), "--parts", "partial", "--json"]) == 0
    card = json.loads((tmp_path / "card" / "card.json").read_text())
    assert set(card["parts"]) == {"generators", "short", "partial"}
    row = card["parts"]["generators"][0]
    assert row["name"] == "buzz" and row["eer_interpolated"] == 0.0 and row["miss"]["share"] == 0.0
    assert [one["abstained_bona_fide"]["share"] for one in card["parts"]["short"]][:2] == [1.0, 0.0]
    assert "| buzz |" in (tmp_path / "card" / "card.md").read_text()
    assert (tmp_path / "card" / "card.svg").read_text().endswith("</svg>\n")
    card["parts"]["partial"] = {}  # clips too short to be joined: the page says so, and what it takes
    assert "Not measured: it takes recordings of at least 6 s" in card_markdown(card)
    capsys.readouterr()
    assert main([*arguments, "--out", str(tmp_path / "card"), "--parts", "nothing"]) == 2
    assert "use some of generators" in capsys.readouterr().err
    assert main(["detect-card", "--out", str(tmp_path)]) == 2 and "name one of" in capsys.readouterr().err
