"""The small world: its facts, its text, its base models."""
