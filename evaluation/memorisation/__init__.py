"""How near a clip comes to training recordings, in tokens and in sound, and whether planted ones come back."""
