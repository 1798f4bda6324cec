"""``audiolm-audit codec``: recordings to .sst files of a few kbit/s and back; what a file holds; codes in use."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

__all__ = ["main"]

EXAMPLE = "audiolm-audit codec encode speech.wav speech.sst && audiolm-audit codec decode speech.sst again.wav"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of encode, decode, info, usage; bad input raises ValueError or OSError with one sentence."""
    options = _parser().parse_args(argv)
    result = options.work(options)
    if options.json:
        print(json.dumps(result, sort_keys=True))
    else:
        print(options.show(result))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="audiolm-audit codec",
        description=__doc__,
        epilog=f"example:\n  {EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    encode = _action(actions, "encode", "a recording to a .sst file", _encode, _show_file)
    encode.add_argument("input", type=Path, help="WAV, FLAC, OGG or MP3, any rate")
    encode.add_argument("output", type=Path, help="the .sst file to write")
    decode = _action(actions, "decode", "a .sst file to a WAV or FLAC file", _decode, _show_file)
    decode.add_argument("input", type=Path, help="a .sst file")
    decode.add_argument("output", type=Path, help="the .wav or .flac file to write")
    for action in (encode, decode):
        action.add_argument("--levels", type=int, help="only the first levels: fewer bits (default: all)")
    info = _action(actions, "info", "what a .sst file holds; checks every block", _info, _show_file)
    info.add_argument("input", type=Path, help="a .sst file")
    usage = _action(actions, "usage", "codes in use and entropy per level", _usage, _show_usage)
    usage.add_argument("inputs", type=Path, nargs="+", metavar="FILE", help="recordings, .sst files, or both")
    for action in (encode, decode, usage):
        action.add_argument("--codec", default="nano", help="nano, or the folder of a model or a codec (default: nano)")
    return parser


def _action(actions: Any, name: str, what: str, work: Any, show: Any) -> argparse.ArgumentParser:
    action = actions.add_parser(name, help=what, description=what, allow_abbrev=False)
    action.add_argument("--json", action="store_true", help="print JSON")
    action.set_defaults(work=work, show=show)
    return action


def _encode(options: argparse.Namespace) -> dict[str, Any]:
    from audiolm.codec.files import encode_file, open_codec

    header = encode_file(open_codec(options.codec), options.input, options.output, options.levels)
    return {"file": str(options.output)} | _facts(header)


def _decode(options: argparse.Namespace) -> dict[str, Any]:
    from audiolm.codec.files import decode_file, open_codec

    header = decode_file(open_codec(options.codec), options.input, options.output, options.levels)
    return {"file": str(options.output), "from": str(options.input)} | _facts(header)


def _info(options: argparse.Namespace) -> dict[str, Any]:
    from audiolm.codec.bitstream import read_codes, read_header

    header = read_header(options.input)
    for _ in read_codes(options.input):
        continue
    return {"file": str(options.input)} | _facts(header)


def _facts(header: Any) -> dict[str, Any]:
    whole = 8 * header.file_bytes / header.duration_s if header.samples else 0.0
    return asdict(header) | {
        "duration_s": header.duration_s,
        "blocks": header.n_blocks,
        "file_bytes": header.file_bytes,
        "payload_bits_per_second": header.payload_bps,
        "file_bits_per_second": whole,
    }


def _show_file(facts: dict[str, Any]) -> str:
    return (
        f"{facts['file']}: {facts['duration_s']:.2f} s at {facts['sample_rate_hz']} Hz, {facts['frames']} frames of"
        f" {facts['n_levels']} levels x {facts['codebook_size']} codes, codec {facts['codec_name']}"
        f" ({facts['codec_digest'][:12]}); {facts['payload_bits_per_second']:.0f} bit/s of codes,"
        f" {facts['file_bits_per_second']:.0f} bit/s as a file ({facts['file_bytes']} bytes, {facts['blocks']} blocks)"
    )


def _usage(options: argparse.Namespace) -> dict[str, Any]:
    from audiolm.codec.files import codes_of_file, open_codec
    from audiolm.codec.usage import code_usage

    named = open_codec(options.codec)
    pieces = (codes for path in options.inputs for codes in codes_of_file(named, path))
    usage = code_usage(pieces, named.codec.codebook_size)
    return {
        "codec": named.name,
        "codec_digest": named.digest,
        "files": len(options.inputs),
        "levels": [
            asdict(level) | {"share": level.share, "reachable_share": level.reachable_share} for level in usage.levels
        ],
        "mean_share": usage.mean_share,
        "mean_entropy_bit": usage.mean_entropy_bit,
    }


def _show_usage(result: dict[str, Any]) -> str:
    rows = [f"codec {result['codec']} ({result['codec_digest'][:12]}), {result['files']} files"]
    rows.append(f"{'level':>5} {'in use':>12} {'share':>7} {'reachable':>9} {'bits':>6} {'corrected':>9} {'frames':>8}")
    for level in result["levels"]:
        rows.append(
            f"{level['level'] + 1:>5} {level['used']:>5} of {level['size']:<4} {level['share']:>7.1%}"
            f" {level['reachable_share']:>9.1%} {level['entropy_bit']:>6.2f} {level['corrected_bit']:>9.2f}"
            f" {level['frames']:>8}"
        )
    rows.append(f" mean {'':>12} {result['mean_share']:>7.1%} {'':>9} {result['mean_entropy_bit']:>6.2f}")
    return "\n".join(rows)
