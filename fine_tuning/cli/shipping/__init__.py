"""What leaves a run, at the command line."""
