"""Rewards of held-out rows, and reward models by themselves."""
