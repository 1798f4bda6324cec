"""The harness: prompts in, audio generated, scored, summarised; it owns run folders and the score table."""
