"""Token ids of texts: by pieces between special tokens, and by words, each other one once."""
