"""Scored rows -> numbers: what each metric is, and how far training has moved it."""
