"""One call from a checkpoint and a manifest to the table that a release stands on.

A run folder with every role is made and scored (both resume), then the table is read from it. Recordings of a second
split join the rise of the codec's word errors, which needs more words than one split has.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from audiolm.audio import AudioClip
from detectors import DEFAULT_DETECTOR
from evaluation.audit import run_generation, run_scoring
from evaluation.bootstrap import Resampler
from evaluation.config import RENDERED_ROLES, RunConfig
from evaluation.detector_scorer import DETECTOR_PREFIX
from evaluation.discovery import discover_generators, pick
from evaluation.engines import EngineOptions, engine_of
from evaluation.frames import read_generations, read_scores, read_summary
from evaluation.manifest import read_utterances
from evaluation.model_table import Finding, TableRow, table_rows
from evaluation.model_table_codes import CodeCounts, code_rules
from evaluation.model_table_rules import (
    codec_wer_rise,
    continuation_voice_position,
    detector_accuracy,
    generated_speech_like,
)
from evaluation.progress import Progress, silent
from evaluation.protocols import HasTokens
from evaluation.run_folder import RunFolder

__all__ = ["ModelEvaluation", "evaluate_model"]

SCORERS = ("word_error", "codec_quality", "speaker_similarity", "speech_likeness")
TRAINING_SPLIT = "train"

Rules = Mapping[str, Callable[[], Finding | str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEvaluation:
    """What is evaluated on what.

    ``data``: manifest or corpus; ``split``: the utterances that the table is about; ``second_split``: more recordings
    for the rise of word errors, where the data have it, or empty. ``max_seconds``: how much of a recording is used;
    long enough, so that transcripts apply. ``abx``: whether semantic tokens are compared, the longest part.
    """

    checkpoint: str
    data: str
    split: str = "test"
    second_split: str = "dev"
    limit: int | None = None
    device: str = "cpu"
    seed: int = 0
    seconds: float = 4.0
    max_seconds: float = 30.0
    abx: bool = True

    def run_config(self) -> RunConfig:
        return RunConfig(
            prompts=self.data,
            split=self.split,
            limit=self.limit,
            checkpoint=self.checkpoint,
            device=self.device,
            seed=self.seed,
            seconds=self.seconds,
            max_seconds=self.max_seconds,
            roles=RENDERED_ROLES,
            scorers=(*SCORERS, f"{DETECTOR_PREFIX}{DEFAULT_DETECTOR}"),
        )


def evaluate_model(
    what: ModelEvaluation,
    out: str | Path,
    *,
    command: str = "",
    progress: Progress = silent,
    workers: int = 1,
    engine: EngineOptions | None = None,
) -> list[TableRow]:
    """Make or continue the run in ``out`` (and ``<out>-<second split>`` beside it) and give the table's rows in order.

    Raises:
        ValueError: bad input, or a folder that holds something else than this evaluation.
    """
    config, options = what.run_config(), engine_of(workers, engine)
    folder = _made(config, out, command, progress, options)
    tables = [read_scores(folder.scores)]
    if what.second_split and what.second_split != what.split and _has_split(what.data, what.second_split):
        second = replace(config, split=what.second_split, roles=("codec",), scorers=("word_error",))
        beside = _made(second, f"{Path(out)}-{what.second_split}", command, progress, options)
        tables.append(read_scores(beside.scores))
    resampler = Resampler(seed=what.seed)
    scores = tables[0]
    rules: dict[str, Callable[[], Finding | str]] = {
        "codec_wer_rise": lambda: codec_wer_rise(tables, resampler),
        "continuation_voice_position": lambda: continuation_voice_position(scores, resampler),
        "detector_accuracy": lambda: detector_accuracy(scores, resampler),
        "generated_speech_like": lambda: generated_speech_like(scores, resampler),
    }
    rules |= _model_rules(what, folder, resampler, progress)
    entries = json.loads(folder.measures.read_text(encoding="utf-8"))
    units = {(entry["scorer"], entry["measure"]): str(entry["unit"]) for entry in entries}
    return list(table_rows(read_summary(folder.summary), units, rules))


def _made(config: RunConfig, out: str | Path, command: str, progress: Progress, engine: EngineOptions) -> RunFolder:
    run_generation(config, out, resume=True, command=command, progress=progress, engine=engine)
    run_scoring(out, scorers=config.scorers, device=config.device, progress=progress, engine=engine)
    return RunFolder(out)


def _has_split(data: str, split: str) -> bool:
    return any(one.split == split for one in read_utterances(data))


def _model_rules(what: ModelEvaluation, folder: RunFolder, resampler: Resampler, progress: Progress) -> Rules:
    """Rules that ask the system for its own tokens; none for a system that does not show them."""
    generator = pick(discover_generators(), what.run_config().system, "system").load(what.checkpoint, what.device)
    if not isinstance(generator, HasTokens):
        return {}
    counts = CodeCounts(generator.codebook_size)
    for record in read_generations(folder.generations):
        if record.role == "reference" and record.status == "ok":
            clip = AudioClip.from_file(folder.path / record.audio_path).at_rate(generator.sample_rate_hz)
            counts.add(record.speaker_id, generator.codec_codes(clip.samples))
    rules = dict(code_rules(counts, resampler))
    if what.abx:
        from evaluation.model_table_abx import abx_rules

        utterances = read_utterances(what.data, split=what.split, limit=what.limit)
        training = [one for one in read_utterances(what.data) if one.split == TRAINING_SPLIT != what.split]
        rules |= abx_rules(
            utterances,
            training,
            what.checkpoint,
            generator.n_semantic_tokens,
            resampler,
            device=what.device,
            progress=progress,
        )
    return rules
