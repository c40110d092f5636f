"""Searches over models: many trainings, one report."""
