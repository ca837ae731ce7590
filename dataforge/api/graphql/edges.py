"""Edges in GraphQL: they lead on to the task or dataset at their other end."""

from dataforge.api.graphql.nodes import leads_to_node
from dataforge.model.edge_item import EdgeItem

leads_to_node(EdgeItem)
