"""What the columns of a row hold: its prompt, its answers, and its files."""
