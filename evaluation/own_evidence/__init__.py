"""Detectors that lean on our own model's parts: evidence of its tokens, and a probe on its speech features."""
