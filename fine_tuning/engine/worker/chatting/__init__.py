"""A model that is spoken with: loaded once, asked turn by turn."""
