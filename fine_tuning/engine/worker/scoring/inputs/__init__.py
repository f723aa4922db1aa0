"""Held-out rows as what a model takes: ids or media, in batches."""
