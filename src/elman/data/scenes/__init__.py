"""Drawn scenes of coloured shapes, with captions and questions."""
