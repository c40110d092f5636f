"""Decoding: tokens chosen one after another from a `TokenStepper`, by sampling or beam search."""
