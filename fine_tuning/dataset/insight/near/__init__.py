"""Rows that belong together: equal, with an equal prompt, or nearly the same."""
