"""The graph in memory: searches over compressed sparse rows, and whether declared edges close a cycle."""
