"""What is known and decided before anything is trained: rows, model, tokens, split and plan."""
