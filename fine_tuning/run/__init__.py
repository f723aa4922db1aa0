"""One run on disk: its folder, its record, and what of it still holds."""
