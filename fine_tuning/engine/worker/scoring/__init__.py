"""Answers and losses of held-out rows."""
