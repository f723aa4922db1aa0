"""What an adapter is put on, and what is saved beside it, where the engine does it otherwise."""
