"""The window on the graph: assets, their partitions and their checks, as Dagster shows them."""
