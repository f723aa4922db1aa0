"""Numbers drawn: scales and ticks, curves, the histogram of lengths."""
