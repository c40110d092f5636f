"""Tasks: a model and its loss. Every module here defines one, found by its `kind`."""
