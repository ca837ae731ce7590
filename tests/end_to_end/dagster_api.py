"""The few questions that the tests put to Dagster's GraphQL."""

from pathlib import Path
from typing import Any

import httpx

_DOCUMENT = Path(__file__).with_name("dagster.graphql").read_text(encoding="utf-8")
_SENSOR = {"repositoryLocationName": "shop", "repositoryName": "__repository__"}
RUNS, EVERY_STORAGE = "Runs", "EveryStorage"


class DagsterApi:
    """Dagster's webserver, asked as its own pages ask it."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self.url = str(client.base_url)

    def _ask(self, operation: str, **variables: Any) -> dict[str, Any]:
        """What an operation of `dagster.graphql` finds."""
        body = {"query": _DOCUMENT, "operationName": operation, "variables": variables}
        answer = self._client.post("/graphql", json=body)
        answer.raise_for_status()
        shape = answer.json()
        assert "errors" not in shape, shape["errors"]
        found: dict[str, Any] = shape["data"]
        return found

    def failure(self, operation: str = EVERY_STORAGE) -> str | None:
        """What a page that asks this would show as an error; None where it shows none. Each of Dagster's three storages
        keeps connections of its own."""
        try:
            found = self._ask(operation, key={"path": ["lake", "orders"]})
        except (httpx.HTTPError, AssertionError) as error:
            return str(error) or type(error).__name__
        return next((str(part) for part in found.values() if str(part.get("__typename")).endswith("Error")), None)

    def materialized(self, asset: str) -> list[tuple[str, str]]:
        """The ranges of partitions that are green: (first, last)."""
        node = self._ask("Partitions", key={"path": asset.split("/")})["assetNodeOrError"]
        ranges = node["assetPartitionStatuses"]["ranges"]
        return [(each["startKey"], each["endKey"]) for each in ranges if each["status"] == "MATERIALIZED"]

    def is_materialized(self, asset: str, partition: str) -> bool:
        """Whether one partition is green."""
        return any(first <= partition <= last for first, last in self.materialized(asset))

    def events(self, asset: str, partition: str) -> list[dict[str, Any]]:
        """Every materialization and observation of one partition, each as what its metadata say in text."""
        found = self._ask("Events", key={"path": asset.split("/")}, partitions=[partition])["assetOrError"]
        return [
            {entry["label"]: entry["text"] for entry in each["metadataEntries"] if "text" in entry}
            for kind in ("assetMaterializations", "assetObservations")
            for each in found[kind]
        ]

    def check(self, asset: str, name: str) -> dict[str, Any] | None:
        """The latest execution of one check of an asset."""
        node = self._ask("Checks", key={"path": asset.split("/")})["assetNodeOrError"]
        found = {each["name"]: each for each in node["assetChecksOrError"]["checks"]}
        execution: dict[str, Any] | None = found[name]["executionForLatestMaterialization"]
        return execution

    def passes(self, asset: str, name: str) -> bool | None:
        """Whether one check of an asset passes; None where it was not evaluated yet."""
        found = self.check(asset, name)
        return bool(found["evaluation"]["success"]) if found is not None and found["evaluation"] is not None else None

    def materialize(self, asset: str, partition: str) -> str:
        """Launches one partition of an asset, as the button in the page does; the backfill's id."""
        parameters = {"assetSelection": [{"path": asset.split("/")}], "partitionNames": [partition]}
        launched = self._ask("Launch", parameters=parameters)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        backfill: str = launched["backfillId"]
        return backfill

    def backfill_status(self, backfill: str) -> str:
        """How far a backfill is."""
        status: str = self._ask("Backfill", id=backfill)["partitionBackfillOrError"]["status"]
        return status

    def start_sensor(self, name: str) -> str:
        """Turns a sensor on, as the switch in the page does; what turns it off again."""
        started = self._ask("Start", sensor={**_SENSOR, "sensorName": name})["startSensor"]
        assert started["__typename"] == "Sensor", started
        state: str = started["sensorState"]["id"]
        return state

    def sensor_status(self, name: str) -> str:
        """Whether a sensor runs."""
        found = self._ask("Status", sensor={**_SENSOR, "sensorName": name})["sensorOrError"]
        status: str = found["sensorState"]["status"]
        return status

    def stop_sensor(self, state: str) -> None:
        """Turns it off."""
        self._ask("Stop", id=state)

    def sensor_failures(self, name: str) -> list[str]:
        """What went wrong in its last ticks."""
        found = self._ask("State", sensor={**_SENSOR, "sensorName": name})["sensorOrError"]["sensorState"]["ticks"]
        return [tick["error"]["message"] for tick in found if tick["error"]]

    def automated(self, sensor: str) -> set[tuple[str, str]]:
        """The assets and partitions that a sensor has had run."""
        runs = self._ask("Automated", sensor=sensor)["runsOrError"]["results"]
        return {
            ("/".join(asset["path"]), tag["value"])
            for run in runs
            for asset in run["assetSelection"] or ()
            for tag in run["tags"]
            if tag["key"] == "dagster/partition"
        }

    def reasons(self, asset: str) -> set[str]:
        """What was true below the condition of an asset in its last evaluations."""
        found = self._ask("Evaluations", key={"path": asset.split("/")})["assetConditionEvaluationRecordsOrError"]
        nodes = [node for record in found["records"] for node in record["evaluationNodes"]]
        return {" ".join(node["expandedLabel"]) for node in nodes if node["numTrue"]}
