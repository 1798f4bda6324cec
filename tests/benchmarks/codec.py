"""Codecs side by side: encode + decode of 10 s, as a share of real time.

    python -m tests.benchmarks.codec [--seconds 10] [--rounds 5] [--json]

``full`` is SoundStream as published (SEANet of C = 32, 12 levels of 1024 codes, 16 kHz, 6 kbit/s), ``nano`` the shipped
geometry; both at random weights, which cost what trained ones do. EnCodec is that of transformers at its defaults (24
kHz, 6 kbit/s) and, where it is installed, the package ``encodec``; DAC is that of transformers at 16 kHz (12
codebooks), once, since it takes ten times as long. All run the same audio at their own rate.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from audiolm.codec import CodecConfig, SoundStream, nano_codec, paper_codec
from audiolm.codec.adversarial import contest
from audiolm.codec.discriminators import Discriminator, nano_discriminator
from audiolm.codec.objectives import WaveformObjective
from audiolm.codec.streaming import StreamingDecoder, StreamingEncoder
from tests.benchmarks.table import Row, alternate, compared, finish, parser

TARGET_SHARE = 0.08
PEER_RATE_HZ = 24_000
KILOBITS = 6.0
CHUNK_S = 0.1


def main(argv: Sequence[str] | None = None) -> int:
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=10.0)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--no-dac", action="store_true")
    options.add_argument("--no-discriminator", action="store_true", help="leave out what training costs")
    args = options.parse_args(argv)
    torch.manual_seed(0)
    rows = speed(args.seconds, args.rounds)
    rows += [] if args.no_dac else dac(args.seconds, rows)
    rows += [] if args.no_discriminator else discriminator_cost(args.rounds)
    return finish(rows, args.json)


def speed(seconds: float, rounds: int) -> list[Row]:
    """Encode and decode of every codec in turn."""
    full, nano = _ready(paper_codec()), _ready(nano_codec())
    samples = _sound(seconds, 16_000)
    calls: dict[str, Callable[[], object]] = {}
    for name, codec in (("full", full), ("nano", nano)):
        codes = codec.encode(samples)
        calls[f"{name} encode"], calls[f"{name} decode"] = partial(codec.encode, samples), partial(codec.decode, codes)
    codes = full.encode(samples)
    calls["full stream encode"] = partial(_stream_encode, full, samples)
    calls["full stream decode"] = partial(_stream_decode, full, codes)
    peers = {}
    if importlib.util.find_spec("transformers"):
        peers["transformers EnCodec"] = _transformers_encodec(seconds)
    if importlib.util.find_spec("encodec"):
        peers["encodec"] = _package_encodec(seconds)
    for name, (encode, decode) in peers.items():
        calls[f"{name} encode"], calls[f"{name} decode"] = encode, decode
    times = {name: value / seconds for name, value in alternate(calls, rounds, warm_up=1).items()}
    totals = {
        name.removesuffix(" encode"): value + times[f"{name.removesuffix(' encode')} decode"]
        for name, value in times.items()
        if name.endswith(" encode")
    }
    rows = [Row(name=f"codec, {name}", value=value, unit="x real") for name, value in times.items()]
    for name in ("full", "nano", "full stream"):
        rows.append(
            Row(
                name=f"codec, {name}, encode + decode of {seconds:g} s",
                value=totals[name],
                unit="x real",
                target=f"<= {TARGET_SHARE} x real" if name == "full" else "",
                met=totals[name] <= TARGET_SHARE if name == "full" else None,
            )
        )
    rows += [
        compared(f"codec, {name}, encode + decode", totals[name], "x real", peer, totals[peer], at_most=1.0)
        for peer in peers
        for name in ("full", "nano")
    ]
    return rows


def dac(seconds: float, ours: Sequence[Row]) -> list[Row]:
    """DAC of transformers, random weights, against full-size SoundStream in ``ours``."""
    if not importlib.util.find_spec("transformers"):
        return []
    import transformers  # pyright: ignore[reportMissingImports]

    made: Any = transformers
    config = made.DacConfig(downsampling_ratios=[2, 4, 5, 8], n_codebooks=12, sampling_rate=16_000)
    model = made.DacModel(config).eval()
    samples = _sound(seconds, 16_000).unsqueeze(1)
    full = next(row.value for row in ours if row.name.startswith("codec, full, encode + decode"))
    with torch.inference_mode():
        codes = model.encode(samples[..., :16_000]).audio_codes  # warms up
        model.decode(audio_codes=codes)
        start = time.perf_counter()
        model.decode(audio_codes=model.encode(samples).audio_codes)
        share = (time.perf_counter() - start) / seconds
    return [compared("codec, full, encode + decode", full, "x real", "DAC 16 kHz", share, at_most=1.0)]


def discriminator_cost(rounds: int) -> list[Row]:
    """Gradients of both players of the nano waveform discriminator against a step of the codec it is made for (nano's
    widths with the spectral front end, all reconstruction losses), and the quantiser's part in that step: 8 x 1 s."""
    recordings, decoded = _sound(8.0, 16_000).view(8, -1), _sound(8.0, 16_000).flip(1).view(8, -1)
    config = CodecConfig(front_end="spectral", latent_dim=64)
    model, codec, objective = Discriminator(nano_discriminator()), _ready(config).train(), WaveformObjective(config)

    def judge() -> None:
        judged = contest(model, recordings, decoded)
        torch.autograd.grad(judged.adversarial + judged.features, judged.output, retain_graph=True)
        judged.discriminator.backward(inputs=list(model.parameters()))

    def step() -> None:
        output, quantized = codec(recordings, generator=torch.Generator().manual_seed(0))
        losses = objective.losses(output, recordings)
        (torch.stack(list(losses.values())).sum() + quantized.commitment).backward()

    def quantize() -> None:
        codec.quantizer(latents, generator=torch.Generator().manual_seed(0))

    with torch.no_grad():
        latents = codec.latents(recordings)
    times = alternate({"judge": judge, "step": step, "quantise": quantize}, rounds, warm_up=1)
    against = "codec's own step"
    return [
        compared("nano discriminator, step of 8 x 1 s", times["judge"], "s", against, times["step"], at_most=1.0),
        compared("nano quantiser, part of a step of 8 x 1 s", times["quantise"], "s", against, times["step"]),
    ]


def _ready(config: CodecConfig) -> SoundStream:
    codec = SoundStream(config).eval()
    vectors = torch.randn(2 * config.codebook_size, config.latent_dim)
    codec.quantizer.initialise(vectors, torch.Generator().manual_seed(0))
    return codec


def _sound(seconds: float, rate_hz: int) -> Tensor:
    """Noise with the level of speech, ``[1, time]``; none of the codecs' costs depends on what they hear."""
    return 0.1 * torch.randn(1, int(seconds * rate_hz), generator=torch.Generator().manual_seed(0))


def _stream_encode(codec: SoundStream, samples: Tensor) -> None:
    encoder = StreamingEncoder(codec)
    for piece in samples.split(int(CHUNK_S * codec.sample_rate_hz), dim=1):
        encoder.push(piece)
    encoder.finish()


def _stream_decode(codec: SoundStream, codes: Tensor) -> None:
    decoder = StreamingDecoder(codec)
    for piece in codes.split(int(CHUNK_S * codec.frame_rate_hz), dim=2):
        decoder.push(piece)
    decoder.finish()


def _transformers_encodec(seconds: float) -> tuple[Callable[[], object], Callable[[], object]]:
    import transformers  # pyright: ignore[reportMissingImports]

    model: Any = transformers.EncodecModel(transformers.EncodecConfig()).eval()
    samples = _sound(seconds, PEER_RATE_HZ).unsqueeze(1)
    encode = torch.inference_mode()(partial(model.encode, samples, bandwidth=KILOBITS))
    codes = encode().audio_codes
    return encode, torch.inference_mode()(partial(model.decode, codes, [None]))


def _package_encodec(seconds: float) -> tuple[Callable[[], object], Callable[[], object]]:
    package: Any = importlib.import_module("encodec")
    model = package.EncodecModel.encodec_model_24khz(pretrained=False).eval()
    model.set_target_bandwidth(KILOBITS)
    samples = _sound(seconds, PEER_RATE_HZ).unsqueeze(1)
    encode = torch.inference_mode()(partial(model.encode, samples))
    frames = encode()
    return encode, torch.inference_mode()(partial(model.decode, frames))


if __name__ == "__main__":
    raise SystemExit(main())
