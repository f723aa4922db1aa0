"""Where each row went: the ledger of a check, and the files that it writes."""
