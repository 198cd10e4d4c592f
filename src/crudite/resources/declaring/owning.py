"""What belongs to one resource alone: its name in URLs, its table, and its names in the interface's documentation."""

from collections.abc import Collection, Mapping
from typing import Any

from crudite.resources.declaring.annotations import nested_models
from crudite.resources.declaring.gather import Gathered
from crudite.resources.declaring.places import SEGMENT
from crudite.schema import ResourceSchema


def check_owners(gathered: Collection[Gathered], schemas: Mapping[type[Any], ResourceSchema]) -> None:
    """No two resources have one name, table, or name of a component in the interface's documentation."""
    paths: dict[str, Gathered] = {}
    tables: dict[str, Gathered] = {}
    for found in gathered:
        schema = schemas[found.cls]
        if not SEGMENT.fullmatch(schema.path):
            found.faults.append(f"{found.name}: path={schema.path!r} is not a single name in a URL.")
        if schema.table.startswith(("crudite_", "sqlite_")):
            found.faults.append(f"{found.name}: names that start with {schema.table[:7]!r} are ours; rename it.")
        other = paths.setdefault(schema.path, found)
        if other is not found:
            text = f"{other.name} and {found.name} both own the path /{schema.path}: give one of them path=…"
            found.faults.append(f"{text}.")
        elif tables.setdefault(schema.table, found) is not found:
            text = f"{tables[schema.table].name} and {found.name} both own the table {schema.table}"
            found.faults.append(f"{text}: rename one of them.")
    _check_components(gathered)


def _check_components(gathered: Collection[Gathered]) -> None:
    taken = {f"{found.name}{what}" for found in gathered for what in ("", "Create", "Replace", "Update")}
    for found in gathered:
        for name, annotation in list(found.annotations.items()):
            for model in nested_models(annotation):
                if model.__name__ in taken:
                    found.fault(
                        name,
                        f"{model.__name__} is the name of a resource or its body too; rename the model",
                    )
