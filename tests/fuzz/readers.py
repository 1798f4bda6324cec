"""The readers that meet files of strangers, each as a function of bytes that raises only what it may.

``run(data, folder)`` reads ``data`` as the real path does. An error of ``errors`` with a bounded sentence is an answer;
anything else is a find. The first bytes of ``data`` choose suffixes and whether checksums are set right, so that a
fuzzer gets behind them.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path

import numpy as np
from fuzz.desk_requests import desk_seeds, read_request
from fuzz.detector_folders import detector_seeds, read_detector

__all__ = ["READERS", "Reader"]

LONGEST_SENTENCE = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """``seeds``: small sound inputs to start from; ``instrument``: modules whose branches guide a fuzzer."""

    name: str
    read: Callable[[bytes, Path], None]
    seeds: Callable[[], list[bytes]]
    max_bytes: int
    instrument: tuple[str, ...]

    def run(self, data: bytes, folder: Path) -> str:
        """Read ``data``; gives the sentence of a refusal, empty where it was taken.

        Raises:
            Exception: whatever a reader must not let out; AssertionError for a sentence that is none.
        """
        try:
            self.read(data, folder)
        except ValueError as error:  # AudioError, BitstreamError and CheckpointError are ValueErrors
            if isinstance(error, UnicodeError | json.JSONDecodeError):
                raise RuntimeError(f"a bare {type(error).__name__} came out: {error}") from error
            sentence = str(error)
            if not sentence.strip() or len(sentence) > LONGEST_SENTENCE:
                raise RuntimeError(f"a sentence of {len(sentence)} characters: {sentence[:80]!r}") from error
            return sentence
        return ""


def _put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


# -- audio ------------------------------------------------------------------------------------------------------------

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".opus", ".caf", "")


def _read_audio(data: bytes, folder: Path) -> None:
    from audiolm.audio import AudioClip, AudioError, read_provenance, stream_blocks

    path = _put(folder, "clip" + AUDIO_SUFFIXES[data[0] % len(AUDIO_SUFFIXES)] if data else "clip", data[1:])
    read_provenance(path)
    try:
        clip = AudioClip.from_file(path, duration_s=12.0)
    except AudioError:
        clip = None
    if clip is not None and not np.isfinite(clip.samples).all():
        raise RuntimeError("samples that are not finite came through the door")
    for block in islice(stream_blocks(path, block_s=1.0), 20):
        if not np.isfinite(block.samples).all():
            raise RuntimeError("samples that are not finite came through the door")


def _audio_seeds() -> list[bytes]:
    import soundfile as sf

    seeds = []
    sound = (0.3 * np.sin(np.arange(400) / 5)).astype(np.float32)
    formats = (
        "WAV:PCM_16 WAV:FLOAT WAV:ULAW WAV:IMA_ADPCM FLAC:PCM_16 OGG:VORBIS OGG:OPUS MP3:MPEG_LAYER_III AIFF:PCM_24"
        " CAF:PCM_16 W64:PCM_16 AU:PCM_16 RF64:PCM_16 WAVEX:DOUBLE CAF:ALAC_16 VOC:PCM_16 NIST:PCM_16 SVX:PCM_16"
    )
    for number, (container, subtype) in enumerate(form.split(":") for form in formats.split()):
        stream = io.BytesIO()
        sf.write(stream, sound, 16_000, format=container, subtype=subtype)
        seeds.append(bytes([number % 256]) + stream.getvalue())
    for place, container in ((0, "WAV"), (1, "FLAC"), (2, "OGG")):
        stream = io.BytesIO()
        with sf.SoundFile(stream, "w", 16_000, 1, format=container) as writer:
            writer.comment = '{"role": "recorded", "seed": [1]}'
            writer.write(sound)
        seeds.append(bytes([place]) + stream.getvalue())
    return seeds


# -- manifest ---------------------------------------------------------------------------------------------------------

MANIFEST_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet", ".json", ".ndjson")


def _read_manifest(data: bytes, folder: Path) -> None:
    from evaluation.manifest import read_utterances

    suffix = MANIFEST_SUFFIXES[data[0] % len(MANIFEST_SUFFIXES)] if data else ".csv"
    (folder / "a.wav").touch()
    utterances = read_utterances(_put(folder, "m" + suffix, data[1:]))
    names = [utterance.utterance_id for utterance in utterances]
    if len(set(names)) != len(names):
        raise RuntimeError("two utterances of one name")
    root = folder.resolve()
    if any(not entry.problem and not entry.audio_path.is_relative_to(root) for entry in utterances):
        raise RuntimeError("a path outside the manifest's folder was taken")


def _manifest_seeds() -> list[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {
            "utterance_id": "a",
            "audio_path": "a.wav",
            "transcript": "x y",
            "speaker_id": "s",
            "gender": "F",
            "age": "33",
        },
        {"utterance_id": "b", "audio_path": "../b.wav", "transcript": "", "speaker_id": "t", "gender": "M", "age": ""},
    ]
    lines = "".join(json.dumps(row | {"groups": {"accent": None, "age": 3}}) + "\n" for row in rows).encode()
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), stream, compression="none")
    table = ",".join(rows[0]) + "\n" + "".join(",".join(map(str, row.values())) + "\n" for row in rows)
    odd = 'utterance_id,audio_path,kind,origin\n"a ""q""","a\nb",speech,human\n\ufeff,,,\n'
    return [
        b"\0" + table.encode(), b"\1" + table.replace(",", "\t").encode(), b"\2" + lines, b"\3" + stream.getvalue(),
        b"\0" + odd.encode(), b"\2" + b'[1,2]\n{"id": [], "path": {}}\nNaN\n',
    ]  # fmt: skip


# -- protocol ---------------------------------------------------------------------------------------------------------

PROTOCOL_SUFFIXES = (".txt", ".csv", ".tsv", ".jsonl", ".parquet")


def _read_protocol(data: bytes, folder: Path) -> None:
    from evaluation.detection_trials import pair, read_protocol, read_scores

    suffix = PROTOCOL_SUFFIXES[data[0] % len(PROTOCOL_SUFFIXES)] if data else ".txt"
    path = _put(folder, "p" + suffix, data[1:])
    try:
        scores = read_scores(path)
    except ValueError:
        scores = [("a", 1.0), ("b", float("nan")), ("a", 2.0)]
    trials = read_protocol(path)
    paired = pair(trials, scores)
    if len(paired.trials) != len(paired.scores):
        raise RuntimeError("trials and scores differ in number")
    if any(score != score for score in paired.scores):
        raise RuntimeError("a score that is no number was paired")


def _protocol_seeds() -> list[bytes]:
    texts = (
        "LA_1 LA_E_1 - A07 spoof\nLA_2 LA_E_2 - - bonafide\n",
        "LA_1 LA_E_1 alaw ita_tx A07 spoof notrim eval\nLA_2 LA_E_2 - - - bonafide notrim eval\n",
        "E_1 E_1 F - - - AC1 A1 spoof -\nE_2 E_2 M - - - - bonafide bonafide -\n",
        "filename\tcm-score\nx\t1.5\ny\t-inf\n",
        "x 1.5\ny nan\nz bonafide\n",
    )
    csv = b"file,label,speaker,attack\na.wav,bonafide,s,-\nb.flac,spoof,t,A01\n"
    lines = b'{"path": "a.wav", "llr": 1.5}\n{"path": "b.wav", "llr": null}\n'
    return [*(b"\0" + text.encode() for text in texts), b"\1" + csv, b"\3" + lines, b"\4PAR1"]


# -- bitstream --------------------------------------------------------------------------------------------------------

HEADER_FIXED = 8 + struct.calcsize("<6I2Q32s") + 4


def _with_right_checksums(data: bytes) -> bytes:
    """The header's CRC, and that of each block it declares as far as they are there, set right."""
    if len(data) < HEADER_FIXED:
        return data
    length = struct.unpack_from("<H", data, 6)[0]
    if not HEADER_FIXED <= length <= len(data):
        return data
    head = data[: length - 4]
    out = head + struct.pack("<I", zlib.crc32(head))
    _, _, levels, codes, per_block, _, frames, _ = struct.unpack_from("<6I2Q", data, 8)
    bits, place, block = max(codes - 1, 0).bit_length(), length, 0
    while frames > 0 and per_block > 0 and place < len(data) and block < 64:
        size = -(-min(per_block, frames) * levels * bits // 8)
        payload = data[place : place + size]
        out += payload + struct.pack("<I", zlib.crc32(payload, zlib.crc32(struct.pack("<Q", block))))
        place, block, frames = place + size + 4, block + 1, frames - per_block
    return out + data[place:]


def _read_bitstream(data: bytes, folder: Path) -> None:
    from audiolm.codec.bitstream import read_codes, read_header

    right = bool(data) and data[0] % 4 != 0
    path = _put(folder, "c.sst", _with_right_checksums(data[1:]) if right else data[1:])
    header = read_header(path)
    for codes in islice(read_codes(path), 200):
        if codes.shape[0] != header.n_levels or codes.min() < 0 or codes.max() >= header.codebook_size:
            raise RuntimeError("codes outside the declared geometry")


def _bitstream_seeds() -> list[bytes]:
    import tempfile

    from audiolm.codec.bitstream import BitstreamHeader, BitstreamWriter

    seeds = []
    with tempfile.TemporaryDirectory() as folder:
        for levels, size, per_block in ((2, 16, 5), (12, 1024, 50), (1, 2, 1), (3, 1000, 7)):
            header = BitstreamHeader(
                codec_name="nano", codec_digest="ab" * 32, sample_rate_hz=16_000, hop=320, n_levels=levels,
                codebook_size=size, frames_per_block=per_block,
            )  # fmt: skip
            path = Path(folder) / "c.sst"
            with BitstreamWriter(path, header) as writer:
                writer.push(np.random.default_rng(0).integers(0, size, (levels, 12)))
                writer.finish(12 * 320 - 5)
            seeds += [b"\1" + path.read_bytes(), b"\0" + path.read_bytes()]
    return seeds


# -- checkpoint -------------------------------------------------------------------------------------------------------

_parts: list[tuple[dict[str, object], dict[str, tuple[int, ...]]]] = []


def _read_checkpoint(data: bytes, folder: Path) -> None:
    """Byte 0: which part, or a ``config.json`` of raw bytes; byte 1: bytes of patches; then the weights file."""
    import torch
    from fuzz.part_configs import patched, small_parts
    from safetensors.torch import save

    if not _parts:
        _parts.extend(small_parts())
    kind, count = (data[0], data[1]) if len(data) > 1 else (0, 0)
    head, weights = data[2 : 2 + count], data[2 + count :]
    part, shapes = _parts[kind % len(_parts)]
    if kind >= 128:  # raw configuration
        config = head
    else:
        document = patched(part, head)
        if not weights:
            weights = save({name: torch.zeros(shape) for name, shape in shapes.items()})
        document = document | {"weights_sha256": sha256(weights).hexdigest()} if "part" in document else document
        config = json.dumps(document).encode()
    _put(folder, "config.json", config)
    _put(folder, "model.safetensors", weights)
    _load_any(folder)


def _load_any(folder: Path) -> None:
    from audiolm.checkpoint import stored_part
    from audiolm.codec.protocol import load_acoustic
    from audiolm.delayed import DelayedStage
    from audiolm.parallel import ParallelStage
    from audiolm.semantic.tokenizer import load_tokenizer
    from audiolm.stages import Stage

    part = stored_part(folder)
    if part == "stage_parallel":
        ParallelStage.load(folder)
    elif part == "stage_delayed":
        DelayedStage.load(folder)
    elif part.startswith("stage_"):
        Stage.load(folder, part.removeprefix("stage_"))
    elif part == "semantic":
        load_tokenizer(folder)
    else:
        load_acoustic(folder)


def _checkpoint_seeds() -> list[bytes]:
    import torch
    from safetensors.torch import save

    seeds = [bytes([kind, 0]) for kind in range(7)]
    seeds += [bytes([kind, 2, place, choice]) for kind in range(7) for place in (6, 12, 20) for choice in (0, 11, 25)]
    weights = save({"weight": torch.ones(2, 3), "bias": torch.zeros(3, dtype=torch.float16)})
    return [*seeds, b"\0\0" + weights, b"\x80\x02{}" + weights]


# -- policy -----------------------------------------------------------------------------------------------------------


def _read_policy(data: bytes, folder: Path) -> None:
    from reports.policy import load_policy

    policy = load_policy(_put(folder, "policy.toml", data))
    if not policy.sha256 or not policy.rules:
        raise RuntimeError("a policy without rules was taken")


def _policy_seeds() -> list[bytes]:
    from reports.policy import load_policy, shipped_policy_text

    shipped = load_policy()
    rule, assumption, quantity = (next(iter(part)) for part in (shipped.rules, shipped.assumptions, shipped.quantities))
    own = (
        f'schema_version = 1\ntitle = "t"\n[rules.{rule}]\nsection = "a"\nquantity = "b"\ndirection = "above"\n'
        'minor = 0.1\nmajor = 0.2\nsource = "s"\nnull = 0.0\ncap = "minor"\ncap_roles = ["codec"]\n'
        '[rules.own]\nmeasure = "level/rms"\nrole = "reference"\ndirection = "below"\nminor = 1\nsource = "x"\n'
        f'[assumptions.{assumption}]\nvalue = 1.5\nunit = "kg"\nsource = "y"\n[quantities]\n{quantity} = ["a/b"]\n'
    )
    return [own.encode(), shipped_policy_text().encode()[:3_000]]


READERS = {
    reader.name: reader
    for reader in (
        Reader(
            name="audio", read=_read_audio, seeds=_audio_seeds, max_bytes=8_192,
            instrument=("audiolm.audio", "soundfile"),
        ),
        Reader(
            name="manifest", read=_read_manifest, seeds=_manifest_seeds, max_bytes=4_096,
            instrument=("evaluation.manifest", "evaluation.table_rows", "evaluation.splits"),
        ),
        Reader(
            name="protocol", read=_read_protocol, seeds=_protocol_seeds, max_bytes=2_048,
            instrument=("evaluation.detection_trials",),
        ),
        Reader(
            name="bitstream", read=_read_bitstream, seeds=_bitstream_seeds, max_bytes=1_024,
            instrument=("audiolm.codec.bitstream",),
        ),
        Reader(
            name="checkpoint", read=_read_checkpoint, seeds=_checkpoint_seeds, max_bytes=2_048,
            instrument=(
                "audiolm.checkpoint", "audiolm.checkpoint_limits", "audiolm.codec", "audiolm.semantic",
                "audiolm.stages", "audiolm.tokens", "audiolm.parallel", "audiolm.delayed",
            ),
        ),
        Reader(
            name="detector", read=read_detector, seeds=detector_seeds, max_bytes=2_048,
            instrument=("detectors.artefacts", "detectors.mel_cnn", "detectors.lfcc_gmm", "detectors.fusion",
                        "detectors.calibration"),
        ),
        Reader(
            name="desk", read=read_request, seeds=desk_seeds, max_bytes=2_048,
            instrument=("evaluation.desk.handler", "http.server", "http.client", "email.feedparser"),
        ),
        Reader(
            name="policy", read=_read_policy, seeds=_policy_seeds, max_bytes=4_096,
            instrument=("reports.policy", "tomllib", "tomli"),
        ),
    )
}  # fmt: skip
