"""What Dagster's code here needs from outside: the ledger, and nothing else knows how it is reached."""

from resources.configuration import airflow_resource, ledger_resource, webserver
from resources.ledger import LedgerResource

__all__ = ["LedgerResource", "airflow_resource", "ledger_resource", "webserver"]
