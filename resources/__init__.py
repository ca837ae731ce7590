"""What Dagster's code here needs from outside: the ledger, and nothing else knows how it is reached."""
