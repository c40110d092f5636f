"""Recurrence over time: the layer, its backends, and steppers."""
