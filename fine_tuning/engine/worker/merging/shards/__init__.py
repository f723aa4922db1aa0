"""Merging where the memory holds no whole model: a shard at a time."""
