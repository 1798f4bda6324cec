"""Makes the language model of ``pocketsphinx:librispeech`` from the transcripts of LibriSpeech train-clean-100.

Run by the maintainers: ``python -m evaluation.asr.build_language_model <corpus folder> <librispeech.lm.bin.xz>``. Every
text of a speaker of the corpus's dev and test splits is left out, so that error rates on them stay honest. The words
are those that the recogniser's dictionary can pronounce.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import lzma
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from evaluation.asr.kneser_ney import arpa_lines, count_trigrams

__all__ = ["main", "sentences"]

TEXT = "text/librispeech_train-clean-100.tsv.gz"
HELD_OUT_SPLITS = ("dev", "test")
SPEAKER_PREFIX = "librispeech-"
MIN_BIGRAM = MIN_TRIGRAM = 2
ALTERNATIVE = re.compile(r"\(\d+\)$")


def sentences(corpus: Path) -> Iterator[list[str]]:
    """Lower-case words of each transcript by a speaker who is in no held-out split."""
    with (corpus / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        held_out = {
            row["speaker"].removeprefix(SPEAKER_PREFIX)
            for row in csv.DictReader(stream)
            if row["split"] in HELD_OUT_SPLITS
        }
    with gzip.open(corpus / TEXT, "rt", encoding="utf-8") as lines:
        for line in lines:
            name, _, text = line.rstrip("\n").partition("\t")
            if name.partition("-")[0] not in held_out:
                yield text.lower().split()


def main() -> None:
    from pocketsphinx import NGramModel, get_model_path

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    dictionary = Path(get_model_path("en-us")) / "cmudict-en-us.dict"
    known = {ALTERNATIVE.sub("", line.split()[0]) for line in dictionary.read_text(encoding="utf-8").splitlines()}
    texts = list(sentences(options.corpus))
    words = Counter(word for text in texts for word in text)
    counts = count_trigrams(texts, known & set(words))
    with tempfile.TemporaryDirectory() as folder:
        arpa, binary = Path(folder) / "model.arpa", Path(folder) / "model.lm.bin"
        lines = arpa_lines(counts, min_bigram=MIN_BIGRAM, min_trigram=MIN_TRIGRAM)
        arpa.write_text("\n".join(lines) + "\n", encoding="utf-8")
        NGramModel.readfile(str(arpa)).write(str(binary))
        options.output.write_bytes(lzma.compress(binary.read_bytes(), preset=9))
    share = sum(count for word, count in words.items() if word in known) / sum(words.values())
    sys.stdout.write(f"{len(texts)} sentences, {len(counts.vocabulary)} words, {share:.3f} of the text covered\n")


if __name__ == "__main__":
    main()
