"""Distances between two sets of feature vectors, float64 ``[item, dimension]``, with the errors that few items make."""
