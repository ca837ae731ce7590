"""GraphQL at /graphql: the ledger's answers, as many as a client wants at once, from one snapshot."""
