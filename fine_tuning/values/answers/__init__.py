"""What models are asked, what they answer, and what that is worth."""
