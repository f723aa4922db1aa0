"""Training arguments of the installed engine, and what is refused of them."""
