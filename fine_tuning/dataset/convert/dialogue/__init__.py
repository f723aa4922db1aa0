"""Messages of one dialogue -> canonical turns."""
