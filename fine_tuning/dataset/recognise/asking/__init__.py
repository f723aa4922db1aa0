"""What a person is asked where a file has more than one reading, with the flags for each."""
