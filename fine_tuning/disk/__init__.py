"""What lies on disk: how it is named, written whole, hashed, and found again."""
