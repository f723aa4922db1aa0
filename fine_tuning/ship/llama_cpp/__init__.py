"""llama.cpp's own programs: where they are, how they are had, and what they are asked for."""
