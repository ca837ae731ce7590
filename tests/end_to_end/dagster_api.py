"""The few questions that the tests put to Dagster's GraphQL."""

from typing import Any

import httpx

_PARTITIONS = """
query Partitions($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode { assetPartitionStatuses {
    ... on TimePartitionStatuses { ranges { startKey endKey status } } } } } }
"""
_EVENTS = """
query Events($key: AssetKeyInput!, $partitions: [String!]) {
  assetOrError(assetKey: $key) { ... on Asset {
    assetMaterializations(partitions: $partitions, limit: 1000) { ...told }
    assetObservations(partitions: $partitions, limit: 1000) { ...told } } } }
fragment told on DisplayableEvent { metadataEntries { label ... on TextMetadataEntry { text } } }
"""
_CHECKS = """
query Checks($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode { assetChecksOrError { ... on AssetChecks { checks {
    name executionForLatestMaterialization { status timestamp evaluation { success description } } } } } } } }
"""
_LAUNCH = """
mutation Launch($parameters: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $parameters) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }
"""
_BACKFILL = """
query Backfill($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }
"""
_SENSOR = {"repositoryLocationName": "shop", "repositoryName": "__repository__"}
_STATUS = """
query Status($sensor: SensorSelector!) {
  sensorOrError(sensorSelector: $sensor) { ... on Sensor { sensorState { status } } } }
"""
_START = """
mutation Start($sensor: SensorSelector!) {
  startSensor(sensorSelector: $sensor) { __typename ... on Sensor { id sensorState { id } } ... on Error { message } } }
"""
_STOP = """
mutation Stop($id: String!) { stopSensor(id: $id) { __typename ... on PythonError { message } } }
"""
_STATE = """
query State($sensor: SensorSelector!) {
  sensorOrError(sensorSelector: $sensor) { ... on Sensor { sensorState {
    id status ticks(limit: 5) { status error { message } } } } } }
"""
_AUTOMATED = """
query Automated($sensor: String!) {
  runsOrError(filter: {tags: [{key: "dagster/sensor_name", value: $sensor}]}, limit: 100) {
    ... on Runs { results { status tags { key value } assetSelection { path } } } } }
"""
_EVALUATIONS = """
query Evaluations($key: AssetKeyInput!) {
  assetConditionEvaluationRecordsOrError(assetKey: $key, limit: 20) {
    ... on AssetConditionEvaluationRecords { records { evaluationNodes { expandedLabel numTrue } } } } }
"""
RUNS = "query Runs { runsOrError(limit: 1) { __typename ... on Error { message } } }"
EVERY_STORAGE = """
query EveryStorage($key: AssetKeyInput!) {
  runsOrError(limit: 1) { __typename ... on Error { message } }
  partitionBackfillsOrError(limit: 1) { __typename ... on Error { message } }
  assetNodeOrError(assetKey: $key) { __typename ... on AssetNode { assetMaterializations(limit: 1) { runId } } }
  instance { daemonHealth { allDaemonStatuses { healthy } } }
  sensorsOrError(repositorySelector: { repositoryLocationName: "shop", repositoryName: "__repository__" }) {
    __typename ... on Error { message } ... on Sensors { results { sensorState { ticks(limit: 1) { status } } } } } }
"""


class DagsterApi:
    """Dagster's webserver, asked as its own pages ask it."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self.url = str(client.base_url)

    def _ask(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = self._client.post("/graphql", json={"query": query, "variables": variables})
        answer.raise_for_status()
        shape = answer.json()
        assert "errors" not in shape, shape["errors"]
        found: dict[str, Any] = shape["data"]
        return found

    def failure(self, query: str = EVERY_STORAGE) -> str | None:
        """What a page that asks this would show as an error; None where it shows none. Each of Dagster's three storages
        keeps connections of its own."""
        try:
            found = self._ask(query, key={"path": ["lake", "orders"]})
        except (httpx.HTTPError, AssertionError) as error:
            return str(error) or type(error).__name__
        return next((str(part) for part in found.values() if str(part.get("__typename")).endswith("Error")), None)

    def materialized(self, asset: str) -> list[tuple[str, str]]:
        """The ranges of partitions that are green: (first, last)."""
        node = self._ask(_PARTITIONS, key={"path": asset.split("/")})["assetNodeOrError"]
        ranges = node["assetPartitionStatuses"]["ranges"]
        return [(each["startKey"], each["endKey"]) for each in ranges if each["status"] == "MATERIALIZED"]

    def is_materialized(self, asset: str, partition: str) -> bool:
        """Whether one partition is green."""
        return any(first <= partition <= last for first, last in self.materialized(asset))

    def events(self, asset: str, partition: str) -> list[dict[str, Any]]:
        """Every materialization and observation of one partition, each as what its metadata say in text."""
        found = self._ask(_EVENTS, key={"path": asset.split("/")}, partitions=[partition])["assetOrError"]
        return [
            {entry["label"]: entry["text"] for entry in each["metadataEntries"] if "text" in entry}
            for kind in ("assetMaterializations", "assetObservations")
            for each in found[kind]
        ]

    def check(self, asset: str, name: str) -> dict[str, Any] | None:
        """The latest execution of one check of an asset."""
        node = self._ask(_CHECKS, key={"path": asset.split("/")})["assetNodeOrError"]
        found = {each["name"]: each for each in node["assetChecksOrError"]["checks"]}
        execution: dict[str, Any] | None = found[name]["executionForLatestMaterialization"]
        return execution

    def materialize(self, asset: str, partition: str) -> str:
        """Launches one partition of an asset, as the button in the page does; the backfill's id."""
        parameters = {"assetSelection": [{"path": asset.split("/")}], "partitionNames": [partition]}
        launched = self._ask(_LAUNCH, parameters=parameters)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        backfill: str = launched["backfillId"]
        return backfill

    def backfill_status(self, backfill: str) -> str:
        """How far a backfill is."""
        status: str = self._ask(_BACKFILL, id=backfill)["partitionBackfillOrError"]["status"]
        return status

    def start_sensor(self, name: str) -> str:
        """Turns a sensor on, as the switch in the page does; what turns it off again."""
        started = self._ask(_START, sensor={**_SENSOR, "sensorName": name})["startSensor"]
        assert started["__typename"] == "Sensor", started
        state: str = started["sensorState"]["id"]
        return state

    def sensor_status(self, name: str) -> str:
        """Whether a sensor runs."""
        found = self._ask(_STATUS, sensor={**_SENSOR, "sensorName": name})["sensorOrError"]
        status: str = found["sensorState"]["status"]
        return status

    def stop_sensor(self, state: str) -> None:
        """Turns it off."""
        self._ask(_STOP, id=state)

    def sensor_failures(self, name: str) -> list[str]:
        """What went wrong in its last ticks."""
        found = self._ask(_STATE, sensor={**_SENSOR, "sensorName": name})["sensorOrError"]["sensorState"]["ticks"]
        return [tick["error"]["message"] for tick in found if tick["error"]]

    def automated(self, sensor: str) -> set[tuple[str, str]]:
        """The assets and partitions that a sensor has had run."""
        runs = self._ask(_AUTOMATED, sensor=sensor)["runsOrError"]["results"]
        return {
            ("/".join(asset["path"]), tag["value"])
            for run in runs
            for asset in run["assetSelection"] or ()
            for tag in run["tags"]
            if tag["key"] == "dagster/partition"
        }

    def reasons(self, asset: str) -> set[str]:
        """What was true below the condition of an asset in its last evaluations."""
        found = self._ask(_EVALUATIONS, key={"path": asset.split("/")})["assetConditionEvaluationRecordsOrError"]
        nodes = [node for record in found["records"] for node in record["evaluationNodes"]]
        return {" ".join(node["expandedLabel"]) for node in nodes if node["numTrue"]}
