"""What the node remembers: instance files (the truth) and the ledger (who, what, how it ended)."""
