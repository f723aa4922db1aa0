"""Where words and progress go."""
