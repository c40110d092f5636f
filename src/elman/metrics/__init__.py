"""Metrics of predictions against references: pure functions, which know no model and no file. See `metric`."""
