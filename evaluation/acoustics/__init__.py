"""Acoustic measurements of one clip, without any model: pitch, loudness, noise, bandwidth.

Arrays in, numbers out: mono float32 ``[time]`` with its rate, nominally within +-1. A quantity that a clip does
not have (the pitch of a whisper, the loudness of silence) is None, never a made-up number.
"""
