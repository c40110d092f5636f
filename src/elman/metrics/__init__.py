"""Metrics of answers against targets."""
