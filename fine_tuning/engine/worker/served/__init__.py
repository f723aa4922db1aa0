"""Rows as a server meets them: the model's own chat template, and its ids."""
