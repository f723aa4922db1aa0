"""Merging what was trained into its base model, and the proof that it is it."""
