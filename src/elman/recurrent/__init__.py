"""Recurrence over time: the layer and its backends."""
