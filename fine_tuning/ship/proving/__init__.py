"""Whether what is served is what was trained: a contract and its replays compared."""
