"""What a file holds: its format, by rows and columns, and what of it has more than one reading."""
