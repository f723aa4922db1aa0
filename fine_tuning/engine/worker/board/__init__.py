"""LLaMA Board, for whoever opened it."""
