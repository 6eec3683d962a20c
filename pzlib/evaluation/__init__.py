"""Scores of a model: the small world, benchmarks, next tokens."""
