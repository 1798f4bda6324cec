"""``detect``: inputs, operating points, provenance, segments and seams, table, page; nothing of it needs weights."""

from __future__ import annotations

import io
import itertools
import json
import os
import sys
import tracemalloc
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from PIL import Image

import detectors
from audiolm.audio import AudioClip, write_audio
from detectors import Verdict
from detectors.localisation import SWITCH_COST_NATS, find_segments, seams
from detectors.preparation import resample
from evaluation.cli import main
from evaluation.detect_page import DetectPage, grey_png, spectrogram

RATE_HZ = 16_000


class Level:
    """Calls quiet files synthetic: -2 nats below a peak of 0.1, +3 above; 4 s are two halves of different nature."""

    name, sample_rate_hz, threshold_llr = "mel_cnn", RATE_HZ, -0.64

    def load(self, path: str | None = None, device: str = "cpu") -> Level:
        return self

    def judge_blocks(self, blocks, sample_rate_hz):
        samples = np.concatenate(list(blocks))
        windows = tuple((k / 2, k / 2 + 1.0, 4.0 if k < 3 else -4.0) for k in range(7))
        return Verdict(llr=-2.0 if np.abs(samples).max() < 0.1 else 3.0, timeline=windows)

    def judge(self, samples, sample_rate_hz):
        return self.judge_blocks([samples], sample_rate_hz)

    def describe(self):
        return {}


@pytest.fixture(autouse=True)
def _detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detectors, "discover", lambda: {detectors.DEFAULT_DETECTOR: Level()})


def tone(path: Path, peak: float, provenance: dict[str, object] | None = None) -> Path:
    samples = peak * np.sin(2 * np.pi * 1_000.0 * np.arange(4 * RATE_HZ) / RATE_HZ)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_audio(path, AudioClip.from_array(samples.astype(np.float32), RATE_HZ), provenance)
    return path


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    assert main(["detect", *arguments, "--json"]) == 0
    return [json.loads(text) for text in capsys.readouterr().out.splitlines()]


def test_folders_and_patterns_are_expanded_once_and_named_files_kept(tmp_path, capsys):
    for name in ("a/one.wav", "a/b/two.flac", "three.wav", "a/.hidden.wav"):
        tone(tmp_path / name, 0.5)
    (tmp_path / "a" / "notes.txt").write_text("no audio")
    found = lines(capsys, str(tmp_path / "a"), str(tmp_path / "**" / "*.wav"), str(tmp_path / "gone.wav"))
    assert [Path(str(line["path"])).name for line in found] == ["two.flac", "one.wav", "three.wav", "gone.wav"]
    assert found[3]["llr"] is None and "no such file" in str(found[3]["reason"])


@pytest.mark.parametrize(
    ("point", "quiet", "threshold"),
    [("balanced", "synthetic", -0.64), ("moderation", "bona fide", -np.log(19.0)), ("forensic", "no opinion", None)],
)
def test_operating_points_move_the_verdict_and_never_the_ratio(tmp_path, capsys, point, quiet, threshold):
    one = lines(capsys, str(tone(tmp_path / "a.wav", 0.05)), "--operating-point", point)[0]
    assert (one["llr"], one["verdict"], one["operating_point"]) == (-2.0, quiet, point)
    assert one["threshold_llr"] == (pytest.approx(threshold) if threshold is not None else None)
    assert one["unit"] == "nats" and one["direction"] == "higher = more likely bona fide"


@pytest.mark.parametrize(("role", "verdict"), [("continuation", "synthetic"), ("reference", "bona fide")])
def test_our_tag_can_say_generated_and_never_bona_fide(tmp_path, capsys, role, verdict):
    path = tone(tmp_path / "a.wav", 0.5, {"tool": "audiolm-audit", "role": role, "seed": 1})
    one = lines(capsys, str(path))[0]
    assert one["llr"] == 3.0 and one["verdict"] == verdict
    assert one["provenance"]["role"] == role  # type: ignore[index]
    foreign = tone(tmp_path / "b.wav", 0.5, {"role": role})
    assert lines(capsys, str(foreign))[0]["verdict"] == "bona fide"


def test_timeline_segments_and_seam(tmp_path, capsys):
    one = lines(capsys, str(tone(tmp_path / "a.wav", 0.5)))[0]
    assert len(one["timeline"]) == 7 and one["seams_s"] == [1.75]  # type: ignore[arg-type]
    assert [(part["start_s"], part["end_s"], part["label"]) for part in one["segments"]] == [  # type: ignore[union-attr]
        (0.0, 1.75, "bona fide"),
        (1.75, 4.0, "synthetic"),
    ]


def test_segments_are_the_best_of_all_paths():
    rng = np.random.default_rng(0)
    for _ in range(10):
        llrs = rng.normal(0.0, 6.0, 9)
        frames = [(float(k), float(k + 1), float(llr)) for k, llr in enumerate(llrs)]
        labels = np.asarray([part.label == "synthetic" for part in find_segments(frames, 0.0) for _ in range(1)])
        edges = [0.0, *[part.end_s for part in find_segments(frames, 0.0)]]
        ours = [labels[np.searchsorted(edges, k + 0.5, side="right") - 1] for k in range(9)]

        def score(path, llrs=llrs):
            changes = sum(one != two for one, two in zip(path, path[1:], strict=False))
            return (
                sum(-x / 2 if state else x / 2 for state, x in zip(path, llrs, strict=True))
                - SWITCH_COST_NATS * changes
            )

        best = max(score(path) for path in itertools.product((False, True), repeat=9))
        assert score(ours) == pytest.approx(best)


def test_a_seam_inside_overlapping_windows_is_placed_by_their_mixture():
    # A window of 1 s that lies across the seam has the two levels by its share of each side, and a little noise.
    rng = np.random.default_rng(1)
    for seam_s in (3.1, 4.35):
        starts = np.arange(0.0, 7.0, 0.25)
        before = np.clip(seam_s - starts, 0.0, 1.0)
        llrs = 4.0 * before - 2.0 * (1.0 - before) + rng.normal(0.0, 0.3, starts.size)
        frames = [(float(s), float(s + 1), float(x)) for s, x in zip(starts, llrs, strict=True)]
        (found,) = seams(find_segments(frames, 0.0))
        assert found == pytest.approx(seam_s, abs=0.1)


def test_a_pause_ends_a_segment_and_is_no_seam():
    frames = [(0.0, 1.0, 5.0), (1.0, 2.0, 5.0), (9.0, 10.0, -9.0), (10.0, 11.0, -9.0)]
    segments = find_segments(frames, 0.0)
    assert [(part.start_s, part.end_s) for part in segments] == [(0.0, 2.0), (9.0, 11.0)]
    assert seams(segments) == [] and find_segments([], 0.0) == []


def test_standard_input_is_judged_as_the_file(tmp_path, capsys, monkeypatch):
    path = tone(tmp_path / "a.wav", 0.05)
    expected = lines(capsys, str(path))[0]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    assert lines(capsys, "-") == [expected | {"path": "-"}]


def test_what_is_no_audio_is_named(tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "a.wav", "w") as archive:
        archive.writestr("x", "y")
    (tmp_path / "b.mp3").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    (tmp_path / "c.wav").write_bytes(b"\x1aE\xdf\xa3" + bytes(100))
    reasons = [
        str(line["reason"]) for line in lines(capsys, *(str(tmp_path / name) for name in ("a.wav", "b.mp3", "c.wav")))
    ]
    assert "ZIP archive" in reasons[0] and "MPEG-4" in reasons[1] and "Matroska" in reasons[2]


LOCKED = b"PK\x03\x04\x14\x00\x01\x00" + bytes(40)
KINDS = {
    "encrypted ZIP": LOCKED,
    "MPEG video": b"\0\0\x01\xba" + bytes(60),
    "transport stream": b"G" + bytes(187) + b"G" + bytes(187),
    "Windows Media": b"0&\xb2u" + bytes(60),
    "AAC audio": b"\xff\xf1P\x80" + bytes(60),
    "AMR audio": b"#!AMR\n" + bytes(60),
    "PDF": b"%PDF-1.7 ...........................",
    "web page": b"\n<!DOCTYPE html><html><body>404</body></html>",
    "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
    "zero bytes": bytes(4_000),
    "not audio": b"just text, and quite enough of it to be a file",
}


@pytest.mark.parametrize("says", KINDS)
def test_what_people_drop_in_by_mistake_is_said_in_one_sentence(tmp_path, capsys, says):
    (tmp_path / "a.wav").write_bytes(KINDS[says])
    one = lines(capsys, str(tmp_path / "a.wav"))[0]
    assert one["llr"] is None and says in str(one["reason"]) and "\n" not in str(one["reason"])


def test_a_name_that_is_no_text_and_a_rate_without_measure_are_judged(tmp_path, capsys):
    path = tone(tmp_path / "a.wav", 0.5)
    samples, _ = sf.read(path, dtype="float32")
    sf.write(tmp_path / "odd.wav", samples, 8_287)
    strange = os.fsencode(tmp_path) + b"/\xff\xfe.wav"
    with open(strange, "wb") as stream:
        stream.write(path.read_bytes())
    found = lines(capsys, os.fsdecode(strange), str(tmp_path / "odd.wav"))
    assert found[0]["path"] == os.fsdecode(strange) and [one["llr"] for one in found] == [3.0, 3.0]
    tracemalloc.start()
    made = resample(samples, 8_287)
    assert tracemalloc.get_traced_memory()[1] < 1e8  # a kernel of all phases would hold half a gigabyte
    tracemalloc.stop()
    at_rate = AudioClip.from_array(samples, 8_287).at_rate(RATE_HZ).samples
    np.testing.assert_allclose(made, at_rate, atol=1e-6)
    want = 0.5 * np.sin(2 * np.pi * 1_000.0 * 8_287 / RATE_HZ * np.arange(made.size) / RATE_HZ)
    assert made.size == -(-samples.size * RATE_HZ // 8_287)
    np.testing.assert_allclose(made[500:-500], want[500:-500], atol=5e-3)


class _Marked:
    """As AudioSeal's detector: the share of marked frames and the bits; marks what is loud."""

    @staticmethod
    def load_detector(name: str) -> _Marked:
        if name == "gone":
            raise OSError("no such file")
        return _Marked()

    def eval(self) -> None: ...

    def detect_watermark(self, samples, sample_rate):
        return (float(samples.abs().max()) > 0.3) * 0.9, np.asarray([[1, 0, 1]])


def test_a_watermark_can_say_generated_and_its_absence_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "audioseal", types.SimpleNamespace(AudioSeal=_Marked, __spec__=object()))
    loud, quiet = (str(tone(tmp_path / f"{peak}.wav", peak)) for peak in (0.5, 0.2))
    found = lines(capsys, loud, quiet, "--watermark")
    assert [one["verdict"] for one in found] == ["synthetic", "bona fide"] and found[0]["llr"] == 3.0
    assert found[0]["watermark"]["message"] == "101" and found[1]["watermark"]["message"] == ""  # type: ignore[index]
    assert "says nothing" in str(found[1]["evidence"])
    assert main(["detect", loud, "--watermark", "gone"]) == 2 and "cannot be loaded" in capsys.readouterr().err


def test_without_the_extra_a_watermark_is_asked_for_in_vain(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None)
    assert main(["detect", str(tone(tmp_path / "a.wav", 0.5)), "--watermark"]) == 2
    assert "audiolm-audit[watermark]" in capsys.readouterr().err


def test_a_name_with_newline_tab_and_markup_breaks_neither_table_nor_page(tmp_path, capsys):
    tone(tmp_path / "in" / "a\n\t<b onload=x>.wav", 0.05)
    page = tmp_path / "page.html"
    assert main(["detect", str(tmp_path / "in"), "--tsv", "--html", str(page)]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert len(header.split("\t")) == len(row.split("\t")) == 8 and "\\n\\t<b" in row
    text = page.read_text()
    assert "<b onload" not in text and "&lt;b onload=x&gt;" in text and "data:image/png;base64," in text
    assert text.count("<section>") == 1 and text.endswith("</html>\n")


def test_the_page_names_the_evidence_and_the_numbers_behind_it(tmp_path):
    path = tone(tmp_path / "a.wav", 0.5)
    parts = [
        {"name": "fine<part>", "llr": -2.5},
        {"name": "provenance", "llr": None, "says": "tag"},
        {
            "name": "fine stage",
            "llr": None,
            "value": 6.254,
            "unit": "nats",
            "bona_fide": [6.1, 6.3],
            "synthetic": [6.2, 7],
        },
    ]
    line = {"path": "a.wav", "llr": -2.5, "verdict": "synthetic", "reason": "", "threshold_llr": 0.0, "evidence": parts}
    line |= {"operating_point": "balanced", "detector": "token_evidence", "timeline": [], "segments": [], "seams_s": []}
    with DetectPage(tmp_path / "page.html") as page:
        page.add(line, path)
    text = (tmp_path / "page.html").read_text()
    assert "<tr><td>fine&lt;part&gt;</td><td>-2.50</td></tr>" in text
    assert "<td>fine stage, nats</td><td>6.25</td><td>6.10 to 6.30</td><td>6.20 to 7.00</td>" in text
    assert text.count("<table>") == 2


def test_the_spectrogram_shows_the_tone_where_it_is(tmp_path):
    picture = spectrogram(tone(tmp_path / "a.wav", 0.5))
    assert picture.shape == (96, 400)
    row = int(picture.sum(axis=1).argmax())
    assert abs(8_000.0 * (1 - row / 95) - 1_000.0) < 120.0
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(grey_png(picture)))), picture)


def test_same_bytes_same_line(tmp_path, capsys):
    path = tone(tmp_path / "a.wav", 0.05)
    assert lines(capsys, str(path)) == lines(capsys, str(path))
    assert sf.info(path).samplerate == RATE_HZ
