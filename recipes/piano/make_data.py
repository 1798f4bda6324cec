"""Piano recordings as training data and as prompts: a manifest whose every piece counts as one speaker.

    python recipes/piano/make_data.py --corpus ../shared/corpus --out runs/piano/data

Train and test pieces stay what the corpus says; three training pieces become ``dev``. Test pieces are cut into clips of
12 s (4 s prompt, 6 s to compare with), so that each piece gives two prompts; intervals resample pieces.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from audiolm.audio import AudioClip, write_audio

DEV = ("BWV862", "Estampes_R-YcnPXY2yE_cut_no_2", "Hob_XVI_20")
"""Part of a name: one piece of each of three composers."""
CLIP_S = 12.0
COLUMNS = ("utterance_id", "path", "split", "speaker", "licence", "origin")
LICENCE = "CC BY 4.0 (GiantMIDI-Piano) + public domain samples (Splendid Grand Piano)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with (options.corpus / "manifest.csv").open(newline="", encoding="utf-8") as stream:
        pieces = [row for row in csv.DictReader(stream) if row["kind"] == "piano"]
    if not pieces:
        raise SystemExit(f"{options.corpus}: its manifest has no row of kind piano")
    options.out.mkdir(parents=True, exist_ok=True)
    rows = [row for piece in pieces for row in made(piece, options.corpus, options.out)]
    with (options.out / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([COLUMNS, *rows])
    counts = {split: sum(row[2] == split for row in rows) for split in ("train", "dev", "test")}
    print(f"{options.out / 'manifest.csv'}: {counts}")


def made(piece: dict[str, str], corpus: Path, out: Path) -> list[tuple[str, ...]]:
    """Write one piece's clips and give their manifest rows."""
    name = piece["utterance_id"].removeprefix("piano-")
    split = "dev" if any(part in name for part in DEV) else piece["split"]
    clip = AudioClip.from_file(corpus / piece["path"])
    starts = (0.0, CLIP_S) if split == "test" else (0.0,)
    rows = []
    for index, start_s in enumerate(starts):
        part = clip.cut(start_s, start_s + CLIP_S) if split == "test" else clip
        file = f"{name}-{index}.flac" if split == "test" else f"{name}.flac"
        write_audio(out / file, part)
        rows.append((file.removesuffix(".flac"), file, split, name, LICENCE, "human"))
    return rows


if __name__ == "__main__":
    main()
