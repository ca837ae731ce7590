"""What the tasks of the random DAGs do, in Airflow: they end as it is written for this instance and this try."""

from airflow.exceptions import AirflowSkipException
from airflow.operators.python import get_current_context


def act(*_, ends, returns):
    """Succeeds with `returns`, fails, or skips itself."""
    instance = get_current_context()["ti"]
    row = ends[max(instance.map_index, 0) % len(ends)]
    end = row[min(instance.try_number, len(row)) - 1]
    if end == "fail":
        raise RuntimeError("this try fails")
    if end == "skip":
        raise AirflowSkipException("this try skips itself")
    return returns
