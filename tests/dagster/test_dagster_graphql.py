"""What is asked of Dagster's GraphQL, held against the schema of the Dagster that is installed."""

from pathlib import Path

import pytest
from dagster_graphql.schema import create_schema
from graphql import OperationDefinitionNode, parse, validate

ROOT = Path(__file__).parents[2]
DOCUMENTS = [path for folder in ("dataforge", "resources", "tests") for path in (ROOT / folder).rglob("*.graphql")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_every_operation_is_one_of_dagsters_schema(document: Path) -> None:
    read = parse(document.read_text(encoding="utf-8"))
    assert [error.message for error in validate(create_schema().graphql_schema, read)] == []
    named = [each.name.value for each in read.definitions if isinstance(each, OperationDefinitionNode) and each.name]
    assert len(named) == len(set(named)) > 0
