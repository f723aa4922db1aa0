"""From a file to a stream of UTF-8 bytes: compression, encoding, and what the content really is."""
