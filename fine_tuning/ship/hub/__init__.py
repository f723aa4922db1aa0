"""What goes to the Hub: the card, the license, the upload."""
