"""A checkpoint's own sampling options: written, read, and refused where they are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audiolm.checkpoint import CheckpointError
from audiolm.generation_defaults import FILE_NAME, read_generation_defaults, write_generation_defaults
from audiolm.sampling import SamplingOptions, StageSampling, Unmasking
from evaluation.generators.audiolm import sampling_options

OWN = SamplingOptions(
    semantic=StageSampling(temperature=0.9),
    coarse=StageSampling(temperature=0.7, top_k=40, top_p=0.9),
    unmasking=Unmasking(passes=(3, 2)),
)


def test_options_come_back_as_they_were_written(tmp_path: Path) -> None:
    assert read_generation_defaults(tmp_path) == SamplingOptions()
    write_generation_defaults(tmp_path, OWN)
    assert read_generation_defaults(tmp_path) == OWN


def test_a_part_of_them_is_enough(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(json.dumps({"fine": {"temperature": 0.3}}), encoding="utf-8")
    assert read_generation_defaults(tmp_path) == SamplingOptions(fine=StageSampling(temperature=0.3))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is no set of sampling options"),
        ("[]", "holds no JSON object"),
        ('{"corse": {}}', "did you mean 'coarse'"),
        ('{"coarse": {"temperature": -1}}', "temperature is -1"),
        ('{"coarse": {"temperature": "hot"}}', "temperature"),
        (" " * 10_001, "more than 10000 bytes"),
    ],
)
def test_what_is_no_set_of_options_is_refused_with_the_file_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / FILE_NAME).write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=says) as caught:
        read_generation_defaults(tmp_path)
    assert FILE_NAME in str(caught.value)


def test_options_of_a_call_go_before_the_models_own() -> None:
    chosen = sampling_options(OWN, [0.5], None, None, None)
    assert chosen.coarse == StageSampling(temperature=0.5, top_k=40, top_p=0.9) and chosen.unmasking == OWN.unmasking
    assert sampling_options(OWN, None, [0], [1.0], None).coarse == StageSampling(temperature=0.7)
