"""A model in memory: which class loads it, what is mended of it, and adapters upon it."""
