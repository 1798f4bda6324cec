"""Every utterance has a row in every role, whatever its file holds; same seed, same bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from evaluation_fakes import RATE_HZ, FakeSystem, tone, write_manifest, write_prompts

from audiolm.audio import AudioClip, read_provenance
from evaluation.config import RunConfig
from evaluation.frames import read_generations
from evaluation.generation import _shards, generate_items
from evaluation.manifest import read_utterances
from evaluation.records import GenerationRecord, Utterance
from evaluation.rendering import item_seed
from evaluation.run_folder import RunFolder, audio_name
from evaluation.shuffling import other_speaker

CONFIG = RunConfig(prompts="x", seconds=2.0)
ROLES = {"reference", "codec", "acoustic", "continuation", "shuffled"}


def generate(prompts: Path, out: Path, system: FakeSystem | None = None, config: RunConfig = CONFIG):
    system = system or FakeSystem()
    run = RunFolder(out)
    run.path.mkdir(exist_ok=True)
    return generate_items(
        run, read_utterances(prompts), config, system, system=system.name, description=system.describe()
    )


def by_id(records: list[GenerationRecord]) -> dict[tuple[str, str], GenerationRecord]:
    return {(record.utterance_id, record.role): record for record in records}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[GenerationRecord]]:
    root = tmp_path_factory.mktemp("made")
    return root, generate(write_prompts(root / "prompts"), root / "run")


def test_every_role_has_a_clip_and_the_table_holds_them(made: tuple[Path, list[GenerationRecord]]) -> None:
    root, records = made
    assert len(records) == 12 * len(ROLES) and {record.status for record in records} == {"ok"}
    stored = read_generations(root / "run" / "generations.parquet")
    assert sorted(stored, key=lambda r: r.item_id) == sorted(records, key=lambda r: r.item_id)
    one = by_id(records)["s1-2", "continuation"]
    assert one.item_id == "fake:continuation:s1-2" and one.duration_s == 2.0 and one.prompt_s == 3.0
    assert one.transcript is None and by_id(records)["s1-2", "acoustic"].transcript == "words of s1-2"
    assert dict(one.groups) == {"gender": "M"} and one.origin == "human"
    clip = AudioClip.from_file(root / "run" / one.audio_path)
    assert clip.sample_rate_hz == RATE_HZ and len(clip.samples) == 2 * RATE_HZ
    provenance = read_provenance(root / "run" / one.audio_path)
    assert provenance["role"] == "continuation" and provenance["seed"] == one.seed and provenance["system"] == "fake"


def test_the_reference_is_the_recording(made: tuple[Path, list[GenerationRecord]]) -> None:
    root, records = made
    reference = AudioClip.from_file(root / "run" / by_id(records)["s0-0", "reference"].audio_path)
    recording = AudioClip.from_file(root / "prompts" / "s0-0.wav")
    np.testing.assert_allclose(reference.samples, recording.samples, atol=2 / 32767)


def test_shuffled_is_a_permutation_over_other_speakers(made: tuple[Path, list[GenerationRecord]]) -> None:
    _, records = made
    speaker_of_file = {r.audio_path: r.speaker_id for r in records if r.role == "continuation"}
    shuffled = [r for r in records if r.role == "shuffled"]
    assert all(speaker_of_file[r.audio_path] != r.speaker_id for r in shuffled)
    assert len({r.audio_path for r in shuffled}) == len(shuffled)


def test_same_seed_same_bytes_other_seed_other_bytes(made: tuple[Path, list[GenerationRecord]], tmp_path: Path) -> None:
    root, records = made
    again = by_id(generate(root / "prompts" / "manifest.csv", tmp_path / "again"))
    other = by_id(generate(root / "prompts" / "manifest.csv", tmp_path / "other", config=replace(CONFIG, seed=1)))
    for record in records:
        key = (record.utterance_id, record.role)
        assert again[key].content_sha256 == record.content_sha256
        assert (other[key].content_sha256 == record.content_sha256) == (record.role == "reference")


def test_an_item_does_not_depend_on_its_neighbours(made: tuple[Path, list[GenerationRecord]], tmp_path: Path) -> None:
    root, records = made
    rows = [{"utterance_id": "s2-1", "audio_path": "s2-1.wav", "speaker_id": "spk2"}]
    alone = by_id(generate(write_manifest(root / "prompts", rows, "alone.csv"), tmp_path / "alone"))
    whole = by_id(records)
    for role in ("codec", "acoustic", "continuation"):
        assert alone["s2-1", role].content_sha256 == whole["s2-1", role].content_sha256


def test_bad_recordings_are_rows_with_reasons(tmp_path: Path) -> None:
    folder = tmp_path / "prompts"
    write_prompts(folder, speakers=2, each=1)
    whole_flac = folder / "whole.flac"
    sf.write(whole_flac, np.random.default_rng(0).normal(0, 0.1, 5 * RATE_HZ), RATE_HZ)
    files: dict[str, tuple[str, str]] = {}

    def add(name: str, status: str, words: str, samples: np.ndarray | None = None, **options: object) -> None:
        if samples is not None:
            sf.write(folder / name, samples, options.pop("rate", RATE_HZ), **options)  # type: ignore[arg-type]
        files[name] = (status, words)

    add("silence.wav", "skipped", "every sample is zero", np.zeros(5 * RATE_HZ))
    add("short.wav", "skipped", "lasts 0.050 s", tone(0.05, 200))
    add("nan.wav", "failed", "NaN", np.full(5 * RATE_HZ, np.nan), subtype="FLOAT")
    add("none.wav", "failed", "0 samples", np.zeros(0))
    (folder / "text.wav").write_text("this is no audio", encoding="utf-8")
    add("text.wav", "failed", "not audio")
    (folder / "empty.wav").write_bytes(b"")
    add("empty.wav", "failed", "empty")
    (folder / "cut.flac").write_bytes(whole_flac.read_bytes()[: whole_flac.stat().st_size // 2])
    add("cut.flac", "failed", "cut.flac")
    add("gone.wav", "failed", "no such file")
    rows = [{"utterance_id": f"s{n}-0", "audio_path": f"s{n}-0.wav", "speaker_id": f"spk{n}"} for n in range(2)]
    rows += [{"utterance_id": name, "audio_path": name, "speaker_id": "spk9"} for name in files]
    records = by_id(generate(write_manifest(folder, rows), tmp_path / "run"))
    assert len(records) == len(rows) * len(ROLES)
    for name, (status, words) in files.items():
        for role in ROLES:
            record = records[name, role]
            assert record.status == status, (name, role, record.reason)
            assert words in record.reason and name in record.reason and "row" in record.reason
            assert not record.audio_path
    assert all(records[f"s{n}-0", role].status == "ok" for n in range(2) for role in ROLES)


def test_odd_but_usable_recordings_say_what_is_odd(tmp_path: Path) -> None:
    clipped = np.clip(10 * tone(5.0, 200), -1, 1)
    recordings = {
        "clipped": (clipped, RATE_HZ, "clipped"),
        "narrow": (tone(5.0, 200, rate_hz=8000), 8000, "nothing above 4000 Hz"),
        "wide": (tone(5.0, 200, rate_hz=96_000), 96_000, ""),
        "six": (np.tile(tone(5.0, 200)[:, None], (1, 6)), RATE_HZ, ""),
        "long": (tone(20.0, 200), RATE_HZ, "first 12.0 s of 20.0 s used, so its transcript does not apply"),
    }
    rows = []
    for name, (samples, rate, _) in recordings.items():
        sf.write(tmp_path / f"{name}.wav", samples, rate)
        rows.append({"utterance_id": name, "audio_path": f"{name}.wav", "transcript": "hello", "speaker_id": name})
    records = by_id(generate(write_manifest(tmp_path, rows), tmp_path / "run"))
    assert {record.status for record in records.values()} == {"ok"}
    for name, (_, _, note) in recordings.items():
        record = records[name, "reference"]
        assert note in record.note and bool(record.note) == bool(note)
        assert record.sample_rate_hz == RATE_HZ and (record.transcript is None) == (name == "long")
    assert records["long", "reference"].duration_s == 12.0


def test_too_short_for_a_prompt_skips_the_continuation_only(tmp_path: Path) -> None:
    write_prompts(tmp_path, speakers=2, each=1, seconds=3.5)
    records = by_id(generate(tmp_path / "manifest.csv", tmp_path / "run"))
    assert records["s0-0", "acoustic"].status == "ok" and records["s0-0", "acoustic"].prompt_s == 0.0
    assert records["s0-0", "continuation"].status == records["s0-0", "shuffled"].status == "skipped"
    assert "3.50 s" in records["s0-0", "continuation"].reason


def test_one_speaker_has_no_floor(tmp_path: Path) -> None:
    write_prompts(tmp_path, speakers=1, each=3)
    shuffled = [r for r in generate(tmp_path / "manifest.csv", tmp_path / "run") if r.role == "shuffled"]
    assert {r.status for r in shuffled} == {"skipped"} and "one speaker" in shuffled[0].reason
    assert not any(r.audio_path for r in shuffled)


def test_a_failing_item_takes_no_other_with_it(tmp_path: Path) -> None:
    write_prompts(tmp_path, speakers=2, each=2)
    bad_seed = item_seed(CONFIG.seed, "s1-0", "acoustic")
    system = FakeSystem(fail_on=lambda request: request.seed == bad_seed)
    records = by_id(generate(tmp_path / "manifest.csv", tmp_path / "run", system))
    failed = [key for key, record in records.items() if record.status != "ok"]
    assert failed == [("s1-0", "acoustic")]
    assert "RuntimeError: this one does not work" in records["s1-0", "acoustic"].reason


def test_a_system_that_gives_too_few_clips_or_nan_fails_its_items(tmp_path: Path) -> None:
    write_prompts(tmp_path, speakers=2, each=1)

    class Short(FakeSystem):
        def render(self, role, requests):
            return super().render(role, requests)[:-1]

    records = by_id(generate(tmp_path / "manifest.csv", tmp_path / "run", Short()))
    assert records["s0-0", "codec"].status == "failed" and "0 clips for 1" in records["s0-0", "codec"].reason


def test_finished_shards_are_not_made_again_but_damaged_audio_is(tmp_path: Path) -> None:
    manifest = write_prompts(tmp_path / "prompts")
    first = FakeSystem()
    before = generate(manifest, tmp_path / "run", first)
    second = FakeSystem()
    assert generate(manifest, tmp_path / "run", second) == before and second.calls == 0
    (tmp_path / "run" / before[0].audio_path).write_bytes(b"damaged")
    third = FakeSystem()
    again = by_id(generate(manifest, tmp_path / "run", third))
    assert 0 < third.calls < first.calls
    assert all(again[r.utterance_id, r.role].content_sha256 == r.content_sha256 for r in before)


@pytest.mark.parametrize("count", range(1, 60))
def test_shards_hold_every_utterance_once_and_are_of_like_size(count: int) -> None:
    utterances = [Utterance(utterance_id=str(number), audio_path=Path("/x")) for number in range(count)]
    shards = _shards(utterances)
    assert [utterance for shard in shards for utterance in shard] == utterances
    sizes = [len(shard) for shard in shards]
    assert max(sizes) <= 8 and max(sizes) - min(sizes) <= 1 and (count <= 4 or len(shards) % 2 == 0)


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "x" * 500, "ä b", "a:b|c"])
def test_odd_ids_make_safe_and_distinct_file_names(name: str) -> None:
    made = audio_name(name)
    assert "/" not in made and not made.startswith(".") and len(made) < 200 and made.isascii()
    assert made != audio_name(name + "2")


@pytest.mark.parametrize("speakers", ["ab", "aab", "aabb", "aaabbc", "abcabcabc", "aaaab"])
def test_other_speaker_always_finds_another(speakers: str) -> None:
    partners = other_speaker(list(speakers))
    assert all(
        partner is not None and speakers[partner] != own for own, partner in zip(speakers, partners, strict=True)
    )
    if max(map(speakers.count, speakers)) * 2 <= len(speakers):
        assert sorted(partner for partner in partners if partner is not None) == list(range(len(speakers)))
