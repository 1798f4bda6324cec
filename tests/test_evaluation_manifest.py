"""Prompt readers: what they take, and one clear sentence for each kind of bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import soundfile as sf
from evaluation_fakes import RATE_HZ, tone, write_manifest, write_prompts

from evaluation.manifest import prompts_origin, read_utterances
from evaluation.records import Utterance
from evaluation.splits import limit_round_robin, speaker_disjoint_split


def row(name: str, path: str, **more: str) -> dict[str, str]:
    return {"utterance_id": name, "audio_path": path, **more}


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    sf.write(tmp_path / "a.wav", tone(1.0, 200), RATE_HZ)
    return tmp_path / "a.wav"


def test_the_three_formats_read_alike(tmp_path: Path) -> None:
    manifest = write_prompts(tmp_path)
    table = pd.read_csv(manifest, dtype=str)
    table.to_parquet(tmp_path / "m.parquet")
    lines = [json.dumps(record) for record in table.to_dict("records")]
    (tmp_path / "m.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    read = [
        [(u.utterance_id, u.audio_path, u.transcript, u.speaker_id, dict(u.groups), u.origin) for u in utterances]
        for utterances in (read_utterances(tmp_path / name) for name in ("manifest.csv", "m.parquet", "m.jsonl"))
    ]
    assert read[0] == read[1] == read[2]
    assert read[0][0][0] == "s0-0" and read[0][0][4] == {"gender": "F"} and len(read[0]) == 12


def test_a_folder_with_a_manifest_is_read_through_it(tmp_path: Path) -> None:
    write_prompts(tmp_path)
    assert read_utterances(tmp_path)[0].transcript == "words of s0-0"


def test_groups_come_from_their_columns_and_ages_become_decades(wav: Path) -> None:
    path = write_manifest(
        wav.parent, [row("a", "a.wav", gender="F", age="34", accent="", **{"group:channel": "phone"}, locale="en")]
    )
    groups = read_utterances(path)[0].groups
    assert dict(groups) == {"age": "30-39", "channel": "phone", "gender": "F", "language": "en"}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("gone.wav", "no such file"),
        ("../a.wav", "outside the manifest's folder"),
        ("/etc/hostname", "outside the manifest's folder"),
        ("", "is empty"),
        (".", "is a folder"),
    ],
)
def test_a_row_with_a_bad_path_stays_with_its_problem(tmp_path: Path, path: str, words: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    for folder in (tmp_path, inside):
        sf.write(folder / "a.wav", tone(0.5, 200), RATE_HZ)
    manifest = write_manifest(inside, [row("good", "a.wav"), row("bad", path)])
    good, bad = read_utterances(manifest)
    assert not good.problem
    assert words in bad.problem and "row 3" in bad.problem and "manifest.csv" in bad.problem


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    sf.write(tmp_path / "secret.wav", tone(0.5, 200), RATE_HZ)
    (inside / "link.wav").symlink_to(tmp_path / "secret.wav")
    assert "outside" in read_utterances(write_manifest(inside, [row("x", "link.wav")]))[0].problem


def test_second_and_later_duplicates_get_an_id_of_their_own_and_a_problem(wav: Path) -> None:
    manifest = write_manifest(
        wav.parent, [row("a", "a.wav"), row("a", "a.wav"), row("a#3", "a.wav"), row("a", "a.wav")]
    )
    utterances = read_utterances(manifest)
    assert [bool(u.problem) for u in utterances] == [False, True, False, True]
    assert len({u.utterance_id for u in utterances}) == 4
    assert "row 3" in utterances[1].problem and "'a'" in utterances[1].problem


def test_an_empty_transcript_is_fine(wav: Path) -> None:
    utterance = read_utterances(write_manifest(wav.parent, [row("a", "a.wav", transcript="  ")]))[0]
    assert utterance.transcript is None and not utterance.problem


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("m.csv", b"utterance_id,transcript\na,hello\n", "'audio_path'.*missing"),
        ("m.csv", b"audio_path,transcript\na.wav,hello\n", "'utterance_id'.*missing"),
        ("m.csv", "utterance_id,audio_path,transcript\na,a.wav,hi\nb,a.wav,café\n".encode("latin-1"), "row 3.*UTF-8"),
        ("m.csv", b"", "empty"),
        ("m.csv", b"utterance_id,audio_path\n", "no rows"),
        ("m.csv", b"utterance_id,audio_path,audio_path\na,a.wav,b.wav\n", "stands twice"),
        ("m.csv", b'utterance_id,audio_path\na,"a.wav\n', "row 2.*CSV"),
        ("m.parquet", b"PAR1 not really", "Parquet"),
        ("m.txt", b"a a.wav", "manifest"),
        ("m.jsonl", b'{"id": "a"}\n', "'audio_path'.*missing"),
    ],
)
def test_an_unusable_manifest_is_one_sentence_naming_the_file(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        read_utterances(path)
    assert str(path) in str(caught.value)


def test_broken_rows_do_not_take_the_others_with_them(wav: Path) -> None:
    csv_path = wav.parent / "m.csv"
    csv_path.write_text("utterance_id,audio_path,transcript\na,a.wav,hi\nb,a.wav,hi, there\n", encoding="utf-8")
    good, bad = read_utterances(csv_path)
    assert not good.problem and "row 3: has 4 fields" in bad.problem
    jsonl = wav.parent / "m.jsonl"
    jsonl.write_text('{"id": "a", "path": "a.wav"}\n{broken\n[1]\n', encoding="utf-8")
    assert [bool(u.problem) for u in read_utterances(jsonl)] == [False, True, True]


def test_a_quoted_line_break_does_not_shift_row_numbers(wav: Path) -> None:
    path = wav.parent / "m.csv"
    path.write_text('utterance_id,audio_path,transcript\na,a.wav,"two\nlines"\nb,gone.wav,x\n', encoding="utf-8")
    assert [u.row for u in read_utterances(path)] == [2, 4]


def test_split_and_kind_filter_and_say_what_there_is(wav: Path) -> None:
    rows = [row("a", "a.wav", kind="speech", split="test"), row("n", "a.wav", kind="noise", split="augment")]
    path = write_manifest(wav.parent, rows)
    assert [u.utterance_id for u in read_utterances(path)] == ["a"]
    with pytest.raises(ValueError, match=r"split 'dev'.*test"):
        read_utterances(path, split="dev")
    with pytest.raises(ValueError, match="kind 'piano'.*noise, speech"):
        read_utterances(path, kind="piano")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file or folder"):
        read_utterances(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no audio file"):
        read_utterances(tmp_path)


def test_librispeech_tree(tmp_path: Path) -> None:
    root = tmp_path / "LibriSpeech" / "dev-clean"
    chapter = root / "84" / "121123"
    chapter.mkdir(parents=True)
    sf.write(chapter / "84-121123-0000.flac", tone(0.5, 200), RATE_HZ)
    (chapter / "84-121123.trans.txt").write_text("84-121123-0000 GO DO YOU HEAR\n", encoding="utf-8")
    (tmp_path / "LibriSpeech" / "SPEAKERS.TXT").write_text(
        ";ID |SEX| SUBSET |MINUTES| NAME\n84   | F | dev-clean | 8.02 | Christie Nowak\n", encoding="utf-8"
    )
    (one,) = read_utterances(root)
    assert (one.utterance_id, one.speaker_id, one.split) == ("84-121123-0000", "84", "dev-clean")
    assert one.transcript == "GO DO YOU HEAR" and dict(one.groups) == {"gender": "F"} and one.origin == "human"


def test_libri_light_tree(tmp_path: Path) -> None:
    book = tmp_path / "small" / "100" / "sea_fairies"
    book.mkdir(parents=True)
    sf.write(book / "01_64kb.flac", tone(0.5, 200), RATE_HZ)
    (book / "01_64kb.json").write_text(json.dumps({"speaker": "100", "book_meta": {}}), encoding="utf-8")
    (one,) = read_utterances(tmp_path / "small")
    assert one.speaker_id == "100" and one.transcript is None and one.origin == "human"


def test_vctk_tree_takes_one_microphone(tmp_path: Path) -> None:
    for folder in ("wav48_silence_trimmed/p225", "txt/p225"):
        (tmp_path / folder).mkdir(parents=True)
    for microphone in ("mic1", "mic2"):
        sf.write(tmp_path / f"wav48_silence_trimmed/p225/p225_001_{microphone}.flac", tone(0.5, 200), 48_000)
    (tmp_path / "txt/p225/p225_001.txt").write_text("Please call Stella.\n", encoding="utf-8")
    (tmp_path / "speaker-info.txt").write_text(
        "ID  AGE  GENDER  ACCENTS  REGION COMMENTS\np225  23  F    English    Southern  England\n", encoding="utf-8"
    )
    (one,) = read_utterances(tmp_path)
    assert one.utterance_id == "p225_001" and one.speaker_id == "p225" and one.transcript == "Please call Stella."
    assert dict(one.groups) == {"accent": "English", "age": "20-29", "gender": "F"}


def test_plain_folder_names_files_apart(tmp_path: Path) -> None:
    for name in ("x.wav", "x.flac", "sub/y.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        sf.write(tmp_path / name, tone(0.2, 200), RATE_HZ)
    (tmp_path / "sub/y.txt").write_text("hello there", encoding="utf-8")
    found = {u.utterance_id: u for u in read_utterances(tmp_path)}
    assert set(found) == {"x.wav", "x.flac", "sub/y"} and found["sub/y"].transcript == "hello there"
    assert found["sub/y"].origin == "unknown" and not any(u.problem for u in found.values())


def utterances_of(counts: dict[str, int]) -> list[Utterance]:
    return [
        Utterance(utterance_id=f"{speaker}-{take}", audio_path=Path("/x"), speaker_id=speaker)
        for speaker, count in counts.items()
        for take in range(count)
    ]


def test_limit_takes_speakers_in_turn() -> None:
    utterances = utterances_of({"a": 5, "b": 2, "c": 1})
    kept = limit_round_robin(utterances, 5)
    assert [u.utterance_id for u in kept] == ["a-0", "a-1", "b-0", "b-1", "c-0"]
    assert limit_round_robin(utterances, 99) == utterances


def test_splits_share_no_speaker_and_meet_their_shares() -> None:
    utterances = utterances_of({f"s{number}": 1 + number % 7 for number in range(60)})
    parts = speaker_disjoint_split(utterances, {"train": 0.8, "dev": 0.1, "test": 0.1}, seed=3)
    speakers = [{u.speaker_id for u in part} for part in parts.values()]
    assert not speakers[0] & speakers[1] and not speakers[0] & speakers[2] and not speakers[1] & speakers[2]
    assert sum(map(len, parts.values())) == len(utterances)
    assert abs(len(parts["train"]) / len(utterances) - 0.8) < 0.05
    assert parts == speaker_disjoint_split(utterances, {"train": 0.8, "dev": 0.1, "test": 0.1}, seed=3)
    assert parts != speaker_disjoint_split(utterances, {"train": 0.8, "dev": 0.1, "test": 0.1}, seed=4)


def test_splits_refuse_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        speaker_disjoint_split(utterances_of({"a": 1}), {"train": 0.5}, seed=0)
    with pytest.raises(ValueError, match="1 speakers cannot fill 2"):
        speaker_disjoint_split(utterances_of({"a": 9}), {"train": 0.5, "test": 0.5}, seed=0)


def test_the_corpus_reads_as_it_is(corpus: Path) -> None:
    utterances = read_utterances(corpus / "manifest.csv", split="test")
    assert len({u.speaker_id for u in utterances}) == 10 and all(u.transcript for u in utterances)
    assert not any(u.problem for u in utterances) and prompts_origin(utterances) == "human"
    assert {u.groups["gender"] for u in utterances} == {"F", "M"}
    fair = read_utterances(corpus / "manifest.csv", split="fairness")
    assert sum("accent" in u.groups for u in fair) > 200
