"""``audiolm-audit generate --mode``: files, their seeds and provenance, refusals; and the roles of the harness."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audiolm_tiny import noise, tiny_model

from audiolm.audio import AudioClip, read_provenance, write_audio
from audiolm.sampling import Pauses, SamplingOptions
from evaluation.cli import main
from evaluation.generators.audiolm import AudioLMGenerator, sampling_options
from evaluation.protocols import RenderRequest
from evaluation.rendering import item_seed


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    tiny_model().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prompts")
    for name, samples in (("a", 16_000), ("b", 20_000)):
        write_audio(folder / f"{name}.wav", AudioClip.from_array(noise(samples, samples), 16_000))
    return folder


def generate(out: Path, *words: object) -> tuple[int, dict[str, Any]]:
    code = main(["generate", "--out", str(out), *map(str, words)])
    index = out / "generate.json"
    return code, json.loads(index.read_text()) if index.is_file() else {}


def sound(path: Path) -> np.ndarray:
    return AudioClip.from_file(path).samples


def test_each_mode_writes_files_of_the_right_length(checkpoint: str, prompts: Path, tmp_path: Path) -> None:
    base = ("--checkpoint", checkpoint)
    for mode, extra, lengths in (
        ("continuation", ("--prompts", prompts, "--prompt-seconds", 0.4, "--seconds", 0.5), [8_000, 8_000]),
        ("acoustic", ("--prompts", prompts, "--max-seconds", 1.1), [16_000, 17_600]),
        ("unconditional", ("--count", 2, "--seconds", 0.5), [8_000, 8_000]),
    ):
        code, index = generate(tmp_path / mode, "--mode", mode, *base, *extra)
        assert code == 0 and index["mode"] == mode and index["decoder"] == "autoregressive"
        files = [tmp_path / mode / entry["path"] for entry in index["files"]]
        assert [len(sound(file)) for file in files] == lengths
        assert read_provenance(files[0])["role"] == mode
        assert read_provenance(files[0])["seed"] == index["files"][0]["seed"]
        assert index["real_time_factor"] == pytest.approx(index["wall_s"] * 16_000 / sum(lengths))


def test_files_are_those_of_the_python_interface(checkpoint: str, prompts: Path, tmp_path: Path) -> None:
    from audiolm import AudioLM

    words = ("--mode", "continuation", "--checkpoint", checkpoint, "--seconds", 0.5, "--prompts", prompts / "a.wav")
    generate(tmp_path / "x", *words, "--seed", 3, "--decoder", "parallel", "--temperature", 0.5, "--count", 2)
    options = sampling_options(SamplingOptions(), [0.5], None, None, None)
    seeds = [item_seed(3, "a", "continuation"), item_seed(3, "a#1", "continuation")]
    prompt = sound(prompts / "a.wav")
    made = AudioLM.from_pretrained(checkpoint).continuation([prompt] * 2, 0.5, seeds, options, decoder="parallel")
    for number, clip in enumerate(made):
        np.testing.assert_allclose(sound(tmp_path / "x" / f"a-{number:04d}.wav"), clip, atol=1e-4)
    assert not np.array_equal(made[0], made[1])


def test_streamed_and_joined_files_are_the_whole(checkpoint: str, prompts: Path, tmp_path: Path) -> None:
    words = ("--mode", "continuation", "--checkpoint", checkpoint, "--seconds", 0.9, "--prompts", prompts, "--limit", 1)
    generate(tmp_path / "whole", *words)
    _, index = generate(tmp_path / "streamed", *words, "--stream", "--join", "--whole-prompt")
    entry = index["files"][0]
    assert 0 < entry["first_sound_s"] <= index["wall_s"]
    prompt, whole = sound(prompts / "a.wav"), sound(tmp_path / "whole" / "a.wav")
    np.testing.assert_allclose(
        sound(tmp_path / "streamed" / "a.wav"), np.concatenate([prompt, whole]), atol=1e-4
    )  # the prompt of 1 s is shorter than --prompt-seconds: heard whole either way


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--mode", "unconditional", "--prompts", "x"), "takes no --prompts"),
        (("--mode", "acoustic", "--join"), "--join and --whole-prompt go with --mode continuation"),
        (("--mode", "acoustic", "--stream"), "--until-end and --stream go with"),
        (("--mode", "acoustic", "--seconds", "2"), "--seconds goes with --mode continuation or unconditional"),
        (("--mode", "unconditional", "--count", "0"), "count is 0"),
        (("--mode", "unconditional", "--resume"), "--resume goes with a run folder"),
        (("--mode", "unconditional", "--temperature", "1", "2"), "temperature has 2 values"),
        (("--mode", "unconditional", "--checkpoint", "nowhere"), "no such model folder"),
        (("--decoder", "parallel"), "--decoder goes with --mode"),
        (("--mode", "continuation", "--prompts", "no-such-folder"), "no such file or folder"),
    ],
)
def test_what_makes_no_sense_is_refused(
    words: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate(tmp_path / "x", *words)[0] == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_folder_with_files_is_not_written_into(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "note.txt").write_text("mine")
    assert main(["generate", "--mode", "unconditional", "--out", str(tmp_path)]) == 2
    assert "holds files already" in capsys.readouterr().err


def test_one_value_or_three_shape_the_stages() -> None:
    options = sampling_options(SamplingOptions(), [0.1, 0.2, 0.3], [5], [0.9, 1.0, 0.8], [3, 1])
    assert [options.semantic.temperature, options.coarse.temperature, options.fine.temperature] == [0.1, 0.2, 0.3]
    assert [options.semantic.top_k, options.fine.top_k] == [5, 5]
    assert [options.semantic.top_p, options.coarse.top_p, options.fine.top_p] == [0.9, None, 0.8]
    assert options.unmasking.passes == (3, 1)
    assert (options.guidance, options.decoder) == (1.0, "autoregressive")
    own = SamplingOptions(decoder="delayed", guidance=2.0)
    kept = sampling_options(own, [0.5], None, None, None)
    assert (kept.decoder, kept.guidance) == ("delayed", 2.0)
    other = sampling_options(own, None, None, None, None, 1.5, 0.4)
    assert (other.guidance, other.recall.share, other.recall.sharpness) == (1.5, 0.4, own.recall.sharpness)
    assert sampling_options(SamplingOptions(), None, [0], None, None).coarse == type(options)().coarse


def test_the_longest_pause_is_told_in_seconds() -> None:
    nothing = (None, None, None, None, None, None)
    own = SamplingOptions(pauses=Pauses(tokens=(1, 2), longest=16))
    assert sampling_options(own, *nothing).pauses == own.pauses
    assert sampling_options(own, *nothing, 1.0).pauses == Pauses(tokens=(1, 2), longest=25)
    assert sampling_options(own, *nothing, 0).pauses == Pauses(tokens=(1, 2))
    with pytest.raises(ValueError, match="names no pause tokens"):
        sampling_options(SamplingOptions(), *nothing, 1.0)
    with pytest.raises(ValueError, match="longest pause is -1"):
        sampling_options(own, *nothing, -1)


def test_every_role_is_rendered_and_fewer_levels_sound_different() -> None:
    generator = AudioLMGenerator(tiny_model())
    generator.roles = ("codec", "acoustic", "continuation", "unconditional")  # the tiny codec has 5 levels
    requests = [
        RenderRequest(recording=AudioClip.from_array(noise(9_000, n), 16_000), prompt_s=0.3, seconds=0.25, seed=n)
        for n in (1, 2)
    ]
    for role in (*generator.roles, "codec-4"):
        clips = generator.render(role, requests)
        whole = role in ("codec", "codec-4", "acoustic")
        assert [len(clip.samples) for clip in clips] == [9_000 if whole else 4_000] * 2
    few, all_levels = (generator.render(role, requests)[0].samples for role in ("codec-4", "codec"))
    assert not np.array_equal(few, all_levels)
    with pytest.raises(ValueError, match="levels is 8; this model uses 1 to 5"):
        generator.render("codec-8", requests)
    assert generator.render("unconditional", []) == generator.render("continuation", []) == []
