"""Checked rows -> the two files that the engine reads."""
