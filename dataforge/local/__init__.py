"""The processes of one installation on this machine: PostgreSQL, the API, and their supervisor."""
