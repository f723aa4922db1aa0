"""The settings of a command: what there is, what was written, what it means."""
