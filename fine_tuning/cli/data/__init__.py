"""Checking a dataset at the command line."""
