"""HTTP: one router per noun over the ledger."""
