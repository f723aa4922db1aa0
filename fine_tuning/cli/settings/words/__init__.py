"""The words of a command line: sorted into settings, mistyped, and written to be typed again."""
