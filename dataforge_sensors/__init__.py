"""What goes between the ledger and Dagster, both ways; nothing is lost and nothing is there twice."""
