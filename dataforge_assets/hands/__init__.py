"""Assets by which Dagster launches what runs elsewhere: Airflow tasks, EMR steps, Spark submits, dbt selections."""
