"""From the record of a run, or a check of data, to all that a page shows of it."""
