"""How many tokens a row has where the engine encodes it, media included."""
