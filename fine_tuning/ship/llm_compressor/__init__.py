"""llm-compressor, which writes models for GPU servers: where it is, and what it is given."""
