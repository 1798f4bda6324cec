"""The acoustic tokenizer: SoundStream."""

from audiolm.codec.config import CodecConfig, nano_codec, paper_codec
from audiolm.codec.quantizer import ResidualQuantizer
from audiolm.codec.soundstream import SoundStream

__all__ = ["CodecConfig", "ResidualQuantizer", "SoundStream", "nano_codec", "paper_codec"]
