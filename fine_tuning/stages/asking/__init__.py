"""Stages that ask a model something, and compare what it says."""
