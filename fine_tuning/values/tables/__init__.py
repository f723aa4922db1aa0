"""Kinds of things, one row each."""
