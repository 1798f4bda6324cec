"""The page of ``detect --html``: per file verdict, spectrogram, timeline and segments; written file by file."""

from __future__ import annotations

import base64
import html
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from audiolm.audio import AudioError, probe, stream_blocks

__all__ = ["DetectPage", "grey_png", "spectrogram"]

COLUMNS, ROWS = 800, 96
HIGHEST_HZ, RANGE_DB = 8_000.0, 70.0
MOST_SPECTROGRAMS = 200
CHART_HEIGHT = 90
STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1b1b1b}
h2{font-size:1rem;margin:2.2rem 0 .2rem;overflow-wrap:anywhere}img,svg{display:block;width:100%}img{height:120px}
table{border-collapse:collapse;font-size:.85rem}td,th{padding:.1rem .8rem .1rem 0;text-align:left}
.axis{display:flex;justify-content:space-between;margin:0}.axis,.note{font-size:.8rem;color:#444}.note{margin:.2rem 0}
.synthetic{color:#a11212}.bona-fide{color:#0b5a2b}.no-opinion{color:#444}"""
OPENING = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Synthetic speech: verdicts</title>
<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><main>
<h1>Synthetic speech: verdicts</h1>
<p>The number is a log-likelihood ratio in nats: above 0 the sound is more likely as bona fide speech, below 0 as
synthetic speech. It is evidence, not proof; combine it with what else is known. Where the detector has no ground to
stand on it says why and gives no number.</p>
"""


def spectrogram(path: Path) -> np.ndarray:
    """uint8 ``[row, column]``, highest frequency first, at most 800 columns; memory does not grow with length."""
    info = probe(path)
    size = 512
    columns = int(min(COLUMNS, max(1, info.duration_s * 100)))
    power = np.full((columns, size // 2 + 1), 1e-12)
    taper, first = np.hanning(size), 0
    for block in stream_blocks(path, block_s=30.0):
        samples = block.samples.astype(np.float64)
        frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, (0, size)), size)[:: size // 2]
        wanted = (first + np.arange(len(frames)) * (size // 2)) / max(info.frames, 1) * columns
        cells = np.minimum(wanted.astype(int), columns - 1)
        np.maximum.at(power, cells, np.abs(np.fft.rfft(frames * taper)) ** 2)
        first += samples.size
    highest = min(HIGHEST_HZ, info.sample_rate_hz / 2)
    bins = np.linspace(highest, 0.0, ROWS) * size / info.sample_rate_hz
    level_db = 10.0 * np.log10(power[:, np.minimum(bins.astype(int), size // 2)].T)
    return np.clip((level_db - level_db.max() + RANGE_DB) / RANGE_DB * 255.0, 0.0, 255.0).astype(np.uint8)


def grey_png(pixels: np.ndarray) -> bytes:
    """A greyscale PNG of uint8 ``[row, column]`` (ISO/IEC 15948)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows, columns = pixels.shape
    lines = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(pixels))
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")


class DetectPage:
    """A page under way: ``add`` one judged file after the other; complete when the context ends, never half there."""

    def __init__(self, path: Path) -> None:
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise ValueError(f"--html {path}: name a file in a folder that is there")
        self._path, self._temporary = path, path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._drawn = 0
        self._stream: IO[str] | None = None

    def __enter__(self) -> DetectPage:
        self._stream = self._temporary.open("w", encoding="utf-8", errors="backslashreplace")
        self._stream.write(OPENING)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._stream is not None:
            self._stream.write("</main></body></html>\n")
            self._stream.close()
        if kind is None:
            os.replace(self._temporary, self._path)
        else:
            self._temporary.unlink(missing_ok=True)

    def add(self, line: dict[str, Any], path: Path) -> None:
        """One file: ``line`` is what ``detect --json`` says of it."""
        if self._stream is None:
            raise ValueError("the page is not open; use it in a with statement")
        number = "" if line["llr"] is None else f"{line['llr']:+.2f} nats. "
        reason = line["reason"].removeprefix(f"{line['path']}: ")
        said = [reason, _generated(line), *(part["says"] for part in line["evidence"] if "says" in part)]
        limit = "" if line["threshold_llr"] is None else f"Threshold {line['threshold_llr']:.2f} nats. "
        self._stream.write(
            f"<section><h2>{html.escape(line['path'])}</h2>\n<p><strong class={line['verdict'].replace(' ', '-')!r}>"
            f"{html.escape(line['verdict'])}</strong> {number}{html.escape('. '.join(filter(None, said)))}</p>"
            f"<p>Operating point {html.escape(line['operating_point'])}. {limit}"
            f"Detector {html.escape(line['detector'])}.</p>\n"
            f"{self._picture(path)}{_chart(line, _duration_s(path))}{_segments(line)}{_evidence(line)}</section>\n"
        )

    def _picture(self, path: Path) -> str:
        if self._drawn >= MOST_SPECTROGRAMS:
            return ""
        try:
            picture = base64.b64encode(grey_png(255 - spectrogram(path))).decode()
        except (AudioError, OSError, ValueError):
            return ""  # why it cannot be read stands in the reason already
        self._drawn += 1
        return f'<img alt="Spectrogram, 0 to 8 kHz, dark is loud" src="data:image/png;base64,{picture}">\n'


def _duration_s(path: Path) -> float:
    """Of the file; 0 where it cannot be read again (standard input)."""
    try:
        return probe(path).duration_s
    except AudioError:
        return 0.0


def _generated(line: dict[str, Any]) -> str:
    """Where a recording that changes its nature looks generated."""
    parts = [part for part in line["segments"] if part["label"] == "synthetic"] if line["seams_s"] else []
    spans = ", ".join(f"{part['start_s']:.1f} to {part['end_s']:.1f} s" for part in parts[:20])
    return f"Part of it looks generated: {spans}" if spans else ""


def _chart(line: dict[str, Any], duration_s: float) -> str:
    windows: Sequence[Sequence[float]] = line["timeline"]
    if not windows:
        return ""
    last = max(duration_s, *(end for _, end, _ in windows))
    step = max(1, len(windows) // 2_000)
    highest = max(5.0, *(abs(llr) for _, _, llr in windows))

    def y(llr: float) -> float:
        return CHART_HEIGHT / 2 * (1.0 - llr / highest)

    points = " ".join(f"{(start + end) / 2 / last * 1000:.1f},{y(llr):.1f}" for start, end, llr in windows[::step])
    shades = "".join(
        f'<rect x="{part["start_s"] / last * 1000:.1f}" y="0" height="{CHART_HEIGHT}" fill="#f3b6b6"'
        f' width="{(part["end_s"] - part["start_s"]) / last * 1000:.1f}"/>'
        for part in line["segments"]
        if part["label"] == "synthetic"
    )
    middle = f'<line x1="0" x2="1000" y1="{CHART_HEIGHT / 2}" y2="{CHART_HEIGHT / 2}" stroke="#888"/>'
    return (
        f'<svg viewBox="0 0 1000 {CHART_HEIGHT}" preserveAspectRatio="none" role="img" height="{CHART_HEIGHT}"'
        ' aria-label="Ratio over time; shaded: looks generated">'
        f'{shades}{middle}<polyline points="{points}" fill="none" stroke="#123f7a" stroke-width="2"/></svg>\n'
        f'<p class="axis"><span>0 s</span><span>{last / 2:.1f} s</span><span>{last:.1f} s</span></p>'
        f"<p class='note'>Ratio over time, from -{highest:.0f} to +{highest:.0f} nats, line at 0; shaded: looks"
        " generated.</p>\n"
    )


def _segments(line: dict[str, Any]) -> str:
    if not line["segments"]:
        return ""
    rows = "".join(
        f"<tr><td>{part['start_s']:.2f}</td><td>{part['end_s']:.2f}</td><td>{html.escape(part['label'])}</td>"
        f"<td>{part['llr']:+.2f}</td></tr>"
        for part in line["segments"][:200]
    )
    return f"<table><tr><th>from, s</th><th>to, s</th><th>looks</th><th>nats</th></tr>{rows}</table>\n"


def _evidence(line: dict[str, Any]) -> str:
    """The ratio of each part, and the numbers behind a ratio with where genuine and synthetic clips have them."""
    ratios = [part for part in line["evidence"] if part.get("llr") is not None]
    measured = [part for part in line["evidence"] if "bona_fide" in part]
    shown = ""
    if ratios:
        rows = "".join(f"<tr><td>{html.escape(part['name'])}</td><td>{part['llr']:+.2f}</td></tr>" for part in ratios)
        shown = f"<table><tr><th>evidence</th><th>nats</th></tr>{rows}</table>\n"
    if measured:
        rows = "".join(
            f"<tr><td>{html.escape(part['name'])}, {html.escape(part['unit'])}</td><td>{part['value']:.2f}</td>"
            f"<td>{_range(part['bona_fide'])}</td><td>{_range(part['synthetic'])}</td></tr>"
            for part in measured
        )
        shown += (
            "<table><tr><th>number</th><th>here</th><th>genuine clips</th><th>synthetic clips</th></tr>"
            f"{rows}</table>\n<p class='note'>Ranges hold 80 % of the calibration clips of each class.</p>\n"
        )
    return shown


def _range(ends: Sequence[float]) -> str:
    return f"{ends[0]:.2f} to {ends[1]:.2f}"
