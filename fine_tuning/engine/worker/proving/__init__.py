"""What a model answers, written down, and asked again."""
