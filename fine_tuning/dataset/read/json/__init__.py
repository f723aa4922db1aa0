"""JSON records: one value, lines of values, and documents that hold a list of values."""
