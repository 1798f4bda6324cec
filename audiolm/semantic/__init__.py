"""Semantic tokens: self-supervised features of 16 kHz speech, clustered to one token per 40 ms."""
