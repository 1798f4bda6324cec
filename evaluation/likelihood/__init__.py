"""What a model holds for more likely: pairs made from a user's own audio, and pairs of words or sentences."""
