"""Phone alignments, .item tables and the verb: real speech from PocketSphinx's point of view, and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from audiolm.audio import AudioClip, write_audio
from evaluation.cli import main
from evaluation.language.alignment import SILENCE, Phone, PhoneAligner, align_utterances, spelled_out
from evaluation.language.features import clustered, fitting_frames, plain_features
from evaluation.language.items import MAX_PHONE_S, AbxItem, items_of, read_items, write_items
from evaluation.language.representations import parse_representation, parse_representations
from evaluation.manifest import read_utterances

RATE = 16_000


@pytest.fixture(scope="module")
def spoken(corpus: Path) -> tuple[AudioClip, str]:
    """A short held-out utterance: YOU DON'T MEAN THAT YOU THOUGHT ME SO SILLY."""
    (one,) = [u for u in read_utterances(corpus) if u.utterance_id == "speech-librispeech-1688-1688-142285-0002"]
    return AudioClip.from_file(one.audio_path), str(one.transcript)


@pytest.fixture(scope="module")
def aligner() -> PhoneAligner:
    return PhoneAligner()


def test_phones_of_a_known_sentence_come_in_order(aligner: PhoneAligner, spoken: tuple[AudioClip, str]) -> None:
    clip, text = spoken
    phones = aligner.align(clip, text)
    labels = [phone.label for phone in phones if phone.label != SILENCE]
    assert labels[:8] == ["Y", "UW", "D", "OW", "N", "T", "M", "IY"] or labels[:7] == "Y UW D OW N M IY".split()
    assert labels[-4:] == ["S", "IH", "L", "IY"]
    assert all(a.end_s == pytest.approx(b.start_s, abs=1e-6) for a, b in zip(phones, phones[1:], strict=False))
    assert phones[0].start_s == 0.0 and phones[-1].end_s == pytest.approx(clip.duration_s, abs=0.05)
    assert aligner.align(clip, text) == phones


def test_a_shift_of_the_recording_shifts_the_phones(aligner: PhoneAligner, spoken: tuple[AudioClip, str]) -> None:
    clip, text = spoken
    before = np.random.default_rng(0).standard_normal(RATE // 2) * 1e-4
    later = aligner.align(AudioClip.from_array(np.concatenate([before, clip.samples]), RATE), text)
    plain = aligner.align(clip, text)
    shifts = [
        b.start_s - a.start_s
        for a, b in zip([p for p in plain if p.label != SILENCE], [p for p in later if p.label != SILENCE], strict=True)
    ]
    assert np.median(shifts) == pytest.approx(0.5, abs=0.02)


def test_an_unknown_word_does_not_move_its_neighbours(aligner: PhoneAligner, spoken: tuple[AudioClip, str]) -> None:
    clip, text = spoken
    strange = text.replace("SILLY", "SILLEEH").replace("MEAN", "MEEN")
    plain, guessed = aligner.align(clip, text), aligner.align(clip, strange)
    assert {phone.label for phone in guessed if phone.guessed} == {"M", "IY", "N", "S", "IH", "L", "HH"}
    ends = {p.end_s for p in plain if p.label in ("TH", "AO")}
    assert {p.end_s for p in guessed if p.label in ("TH", "AO")} == ends
    items = items_of({"a": guessed}, {"a": "s"})
    assert items and not any(item.phone == "HH" for item in items)


@pytest.mark.parametrize(
    ("word", "phones"), [("thing", "TH IH NG"), ("shake", "SH AE K"), ("be", "B EH"), ("o'er", "AA ER"), ("x", "K S")]
)
def test_unknown_words_are_spelled_out(word: str, phones: str) -> None:
    assert spelled_out(word) == phones


def test_what_cannot_be_aligned_has_a_reason(tmp_path: Path, spoken: tuple[AudioClip, str]) -> None:
    clip, text = spoken
    write_audio(tmp_path / "speech.wav", clip)
    rows = [("good", text), ("digits", "IN 1840"), ("none", ""), ("long", " ".join([text] * 30))]
    table = ["utterance_id,path,transcript,speaker", *(f"{name},speech.wav,{words},s1" for name, words in rows)]
    (tmp_path / "manifest.csv").write_text("\n".join(table))
    found = align_utterances(read_utterances(tmp_path / "manifest.csv"))
    assert set(found.phones) == {"good"}
    assert "'1840', which is not written out" in found.skipped["digits"]
    assert "no transcript" in found.skipped["none"]
    assert "cannot be found in the recording" in found.skipped["long"]


def test_items_stand_between_two_known_phones() -> None:
    times = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.7 + MAX_PHONE_S + 0.1, 1.3]
    labels = ["SIL", "DH", "AH", "K", "AE", "T", "SIL", "B", "IY"]
    row = [Phone(label, times[k], times[k + 1]) for k, label in enumerate(labels)]
    found = items_of({"u": row}, {"u": "s"})
    assert [(item.previous, item.phone, item.next) for item in found] == [
        ("DH", "AH", "K"),
        ("AH", "K", "AE"),
        ("K", "AE", "T"),
    ]
    assert (found[0].onset_s, found[0].offset_s) == (0.1, 0.4)
    (middle, *_) = items_of({"u": row}, {"u": "s"}, span="phone")
    assert (middle.onset_s, middle.offset_s) == (0.2, 0.3)


def test_item_tables_survive_a_round_trip(tmp_path: Path) -> None:
    items = [
        AbxItem("6295-244435-0009", 0.2925, 0.4725, "L", "NG", "K", "6295"),
        AbxItem("b", 0, 1, "AA", "B", "D", "x"),
    ]
    write_items(tmp_path / "a.item", items)
    assert read_items(tmp_path / "a.item") == items
    lines = (tmp_path / "a.item").read_text().splitlines()
    assert lines[0].split()[0] == "#file"
    assert lines[1] == "6295-244435-0009 0.2925 0.4725 L NG K 6295"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 0 1 AA B C", "line 2: has 6 columns"),
        ("a x 1 AA B C s", "line 2: onset"),
        ("a 2 1 AA B C s", "not in order"),
    ],
)
def test_damaged_item_tables_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.item").write_text(f"#file onset offset #phone prev-phone next-phone speaker\n{text}\n")
    with pytest.raises(ValueError, match=message):
        read_items(tmp_path / "a.item")


def test_mfcc_is_that_of_torchaudio_up_to_scale() -> None:
    import torch
    from torchaudio.transforms import MFCC

    rng = np.random.default_rng(0)
    samples = (rng.standard_normal(RATE) * np.linspace(0.01, 0.3, RATE)).astype(np.float32)
    ours = plain_features("mfcc").encode(AudioClip.from_array(samples, RATE))
    spectra = {"n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 80, "f_min": 40.0, "f_max": 7600.0}
    transform = MFCC(RATE, n_mfcc=13, log_mels=True, melkwargs={**spectra, "center": False})
    theirs = transform(torch.from_numpy(np.pad(samples, (176, 176)))).T.numpy()
    theirs = (theirs - theirs.mean(0)) / theirs.std(0)
    assert ours.shape == (100, 39)
    np.testing.assert_allclose(ours[:, :13], theirs, atol=0.01)


def test_coarse_frames_and_clusters_keep_their_rates() -> None:
    clips = [AudioClip.from_array(np.random.default_rng(k).standard_normal(RATE + 7) * 0.1, RATE) for k in range(3)]
    coarse = plain_features("mfcc@25")
    assert coarse.encode(clips[0]).shape == (26, 39)
    frames = fitting_frames(coarse, clips, seed=0)
    assert frames.shape == (78, 39)
    tokens = clustered(coarse, frames, n_clusters=5, seed=0)
    assert tokens.discrete and tokens.frame_rate_hz == 25.0
    found = tokens.encode(clips[0])
    assert found.shape == (26,) and set(found.tolist()) <= set(range(5))
    np.testing.assert_array_equal(found, clustered(coarse, frames, n_clusters=5, seed=0).encode(clips[0]))
    with pytest.raises(ValueError, match="discrete already"):
        fitting_frames(tokens, clips, seed=0)


def test_representations_by_name(tmp_path: Path) -> None:
    clips = [AudioClip.from_array(np.random.default_rng(k).standard_normal(RATE) * 0.1, RATE) for k in range(2)]
    asked = []
    names = ["log-mel@25/4", "log-mel@25/3", "mfcc"]
    few, fewer, plain = parse_representations(names, training=lambda: asked.append(1) or clips)
    assert few.discrete and few.frame_rate_hz == 25.0 and not plain.discrete
    assert len(few.centroids) == 4 and len(fewer.centroids) == 3 and len(asked) == 1  # type: ignore[arg-type]
    np.save(tmp_path / "one.npy", np.arange(50))
    stored = parse_representation(f"folder:{tmp_path}@50")
    assert stored.discrete and stored.frame_rate_hz == 50.0
    clip = AudioClip(clips[0].samples, RATE, Path("elsewhere/one.wav"))
    np.testing.assert_array_equal(stored.encode(clip), np.arange(50))
    for wrong, message in (
        ("plp", "use mfcc"),
        (f"folder:{tmp_path}", "how many frames"),
        ("model:nano#two", "not a number"),
    ):
        with pytest.raises(ValueError, match=message):
            parse_representation(wrong)


def test_the_verb_prints_what_was_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two voices of three tones each, told apart by MFCC and not by constant tokens."""
    items, rows = [], ["utterance_id,path,speaker"]
    rng = np.random.default_rng(0)
    (tmp_path / "tokens").mkdir()
    for speaker in ("s1", "s2"):
        for index, (phone, pitch_hz) in enumerate((("AA", 300), ("AA", 310), ("IY", 2_000), ("IY", 2_100))):
            name = f"{speaker}-{index}"
            time = np.arange(RATE // 2) / RATE
            wave = 0.3 * np.sin(2 * np.pi * pitch_hz * time) * (1 + np.sin(20 * time)) + 0.01 * rng.standard_normal(
                8000
            )
            write_audio(tmp_path / f"{name}.wav", AudioClip.from_array(wave * 0.4, RATE))
            np.save(tmp_path / "tokens" / f"{name}.npy", np.zeros(25, int))
            rows.append(f"{name},{name}.wav,{speaker}")
            items.append(AbxItem(name, 0.1, 0.3, phone, "B", "D", speaker))
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    write_items(tmp_path / "x.item", items)
    constant = f"folder:{tmp_path / 'tokens'}@50"
    command = ["abx", str(tmp_path / "manifest.csv"), "--items", str(tmp_path / "x.item"), "--representations"]
    assert main([*command, "log-mel", constant, "--baseline", constant, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    errors = {(row["representation"], row["mode"]): row["error"]["estimate"] for row in shown["rows"]}
    assert errors[constant, "within"] == errors[constant, "across"] == 0.5
    assert errors["log-mel", "within"] < 0.5
    assert {row["triplets"] for row in shown["rows"] if row["mode"] == "within"} == {2 * 2 * 2 * 1 * 2}
    assert main([*command, "log-mel", constant]) == 0
    assert "16 triplets in 4 cells, 2 ordered phone pairs, 2 speakers" in capsys.readouterr().out
    assert main([*command, "plp"]) == 2
    assert "there is no representation 'plp'" in capsys.readouterr().err
