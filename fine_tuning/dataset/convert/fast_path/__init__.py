"""Clean JSON Lines, whose texts are copied as they are spelt; begin with `lines`."""
