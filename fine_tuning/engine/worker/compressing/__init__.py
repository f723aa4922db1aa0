"""llm-compressor at work, in a process that sees its folder before this environment."""
