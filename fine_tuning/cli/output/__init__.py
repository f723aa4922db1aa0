"""What a command gives: to people in words, with `--json` to programs as one object."""
