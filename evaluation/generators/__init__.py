"""Systems under test: one file each, found by walking this folder for modules with a ``GENERATOR`` constant."""
