"""What is concluded from values, as sentences, tables and code to copy."""
