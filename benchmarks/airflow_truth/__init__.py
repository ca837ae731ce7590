"""Airflow's own truth: random DAGs, each decision of Airflow's scheduler beside our verdict at the same point."""
