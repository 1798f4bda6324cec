"""Make the prompts that are shipped with the package: our own sentences, spoken by flite and espeak-ng.

No human recording takes part. Needs the programs ``flite`` (2.2, voices slt, rms, awb, kal16) and ``espeak-ng``
(1.51); run it from the repository root:

    python recipes/prompts/make_prompts.py evaluation/prompts
"""

from __future__ import annotations

import argparse
import csv
import logging
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audiolm.audio import AudioClip, write_audio

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

RATE_HZ = 16_000
PEAK = 0.5
SHORTEST_S, LONGEST_S = 4.5, 8.0
COLUMNS = (
    "utterance_id", "audio_path", "transcript", "speaker_id", "origin", "gender", "accent",
    "duration_s", "engine", "voice", "licence",
)  # fmt: skip
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """One synthetic speaker: which program, which of its voices, at which tempo, and the terms it is under."""

    speaker_id: str
    engine: str
    voice: str
    tempo: str
    gender: str
    accent: str
    licence: str

    def command(self, sentence: str, target: Path) -> list[str]:
        """The command line that writes ``sentence`` to the WAV file ``target``."""
        if self.engine == "flite":
            return ["flite", "-voice", self.voice, "--setf", f"duration_stretch={self.tempo}", "-t", sentence,
                    "-o", str(target)]  # fmt: skip
        return ["espeak-ng", "-v", self.voice, "-s", self.tempo, "-w", str(target), sentence]


def read_plan(path: Path) -> list[tuple[Voice, str]]:
    """Voices and the sentences each one speaks, from the plan file beside this script."""
    with path.open("rb") as stream:
        plan = tomllib.load(stream)
    return [
        (Voice(**{name: value for name, value in entry.items() if name != "sentences"}), sentence)
        for entry in plan["voices"]
        for sentence in entry["sentences"]
    ]


def speak(voice: Voice, sentence: str) -> AudioClip:
    """One sentence at 16 kHz, its peak at half of full scale.

    Raises:
        ValueError: the program failed, or the clip is too short to be prompt and continuation.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "speech.wav"
        done = subprocess.run(voice.command(sentence, target), capture_output=True, text=True, check=False)
        if done.returncode or not target.is_file():
            raise ValueError(f"{voice.engine} voice {voice.voice} gave no audio ({done.stderr.strip()}); install it")
        clip = AudioClip.from_file(target).at_rate(RATE_HZ)
    if not SHORTEST_S <= clip.duration_s <= LONGEST_S:
        raise ValueError(
            f"{voice.speaker_id}: {sentence!r} lasts {clip.duration_s:.2f} s; use {SHORTEST_S} to {LONGEST_S} s"
        )
    samples = clip.samples * (PEAK / float(np.abs(clip.samples).max()))
    return AudioClip.from_array(samples, RATE_HZ)


def version_of(engine: str) -> str:
    """The line in which a program names its version."""
    if shutil.which(engine) is None:
        raise ValueError(f"{engine} is not installed; on Debian: apt-get install {engine}")
    done = subprocess.run([engine, "--version"], capture_output=True, text=True, check=False)
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    line = next((line for line in lines if "version" in line or "text-to-speech" in line), lines[0])
    return line.split("  Data at")[0].removeprefix("version: ")


def make_prompts(plan: list[tuple[Voice, str]], folder: Path) -> int:
    """Write the clips, ``manifest.csv`` and ``VERSIONS.txt``; returns how many clips there are."""
    folder.mkdir(parents=True, exist_ok=True)
    versions = {engine: version_of(engine) for engine in sorted({voice.engine for voice, _ in plan})}
    rows = []
    for number, (voice, sentence) in enumerate(plan, start=1):
        utterance_id = f"prompt-{number:02d}-{voice.speaker_id}"
        clip = speak(voice, sentence)
        write_audio(
            folder / f"{utterance_id}.flac",
            clip,
            {"origin": "synthetic", "engine": versions[voice.engine], "voice": voice.voice, "licence": voice.licence},
        )
        rows.append((
            utterance_id, f"{utterance_id}.flac", sentence, voice.speaker_id, "synthetic", voice.gender, voice.accent,
            f"{clip.duration_s:.3f}", voice.engine, voice.voice, voice.licence,
        ))  # fmt: skip
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(rows)
    lines = [f"{engine}: {version}" for engine, version in versions.items()]
    (folder / "VERSIONS.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(rows)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description="Make the shipped synthetic prompts.")
    parser.add_argument("folder", type=Path, help="where clips and manifest.csv go, e.g. evaluation/prompts")
    parser.add_argument("--plan", type=Path, default=Path(__file__).with_name("plan.toml"))
    options = parser.parse_args()
    count = make_prompts(read_plan(options.plan), options.folder)
    _log.info("%d prompts in %s", count, options.folder)


if __name__ == "__main__":
    main()
