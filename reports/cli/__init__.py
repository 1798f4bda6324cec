"""Verbs of ``audiolm-audit`` that read finished run folders and nothing else."""
