"""Training, and what is encoded and counted before it."""
