"""Decoding: choosing tokens, one after another, from any stepper."""
