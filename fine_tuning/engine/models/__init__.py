"""The base model before anything is loaded: where it lies, and its files from a hub."""
