"""From bytes to facts: each platform's events are read here into the ledger's own values, and nowhere else."""
