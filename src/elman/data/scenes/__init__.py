"""Drawn scenes of coloured shapes, what can be said of them, and what can be asked."""
