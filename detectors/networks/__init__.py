"""Networks of the detectors; imported only when a detector is loaded, since they need torch."""
