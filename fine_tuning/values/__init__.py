"""What passes between the rooms: frozen, typed, written and read as JSON."""
