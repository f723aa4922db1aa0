"""`chat`: speak with a tuned model, its base, or any other."""
