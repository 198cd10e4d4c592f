"""What a class declares, as the schema that stores and queries work with."""

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from crudite.resources.declaring.fields import Unique
from crudite.resources.declaring.gather import Gathered, nearest, sentence
from crudite.resources.declaring.keeping import soft_delete_of
from crudite.resources.declaring.links import links_of
from crudite.resources.declaring.names import path_of, table_of
from crudite.resources.declaring.shapes import Shape
from crudite.schema import NO_DEFAULT, FieldSpec, FieldType, Reference, ResourceSchema
from crudite.types import Plain


def _alike(found: Gathered) -> frozenset[tuple[str, ...]]:
    """The groups in which null is a value like any other."""
    given = found.options.get("unique", ())
    return frozenset(tuple(group) for group in given if isinstance(group, Unique) and group.nulls == "alike")


class SchemaReader:
    """Makes schemas of the classes of one application, from the shapes of their fields and the plain defaults that are
    the same for every record."""

    def __init__(
        self, shapes: Mapping[type[Any], Mapping[str, Shape]], static: Mapping[type[Any], Mapping[str, Plain]]
    ) -> None:
        self._shapes = shapes
        self._static = static

    def of(self, found: Gathered) -> ResourceSchema:
        """The schema of a class; faults go to what was gathered of it."""
        shapes, name = self._shapes[found.cls], found.name
        rest = [n for n in shapes if n != "id" and n not in found.by_us]
        order = [n for n in ("id", *rest, *found.by_us) if n in shapes]
        fields = {n: self._field(found, n, shapes[n]) for n in order}
        key = FieldSpec("id", FieldType("uuid"))
        return ResourceSchema(
            name=name,
            path=str(found.options.get("path", path_of(name))),
            table=table_of(name),
            fields=fields if "id" in fields else {"id": key, **fields},
            links=links_of(found, self._shapes),
            unique=self._unique(found),
            alike=_alike(found),
            logged=bool(found.options.get("live", True)),
            renamed_from=found.options.get("renamed_from"),
            search=self._search(found),
            history=self._history(found),
            soft_delete=soft_delete_of(found),
        )

    def _field(self, found: Gathered, name: str, shape: Shape) -> FieldSpec:
        options = found.fields[name]
        reference = None
        if shape.target is not None:
            reference = Reference(
                shape.target.__name__, shape.is_parent, options.checked, options.on_delete, options.include
            )
        if (options.unique or options.index) and shape.type.kind == "json":
            found.faults.append(f"{found.name}.{name}: JSON is neither unique nor indexed.")
        return FieldSpec(
            name=name,
            type=shape.type,
            nullable=shape.nullable,
            default=self._static[found.cls].get(name, NO_DEFAULT),
            unique=options.unique and name != "id",
            indexed=options.index,
            secret=options.visible == "secret" or shape.is_password,
            quiet=options.read is not None or options.visible == "private",
            reference=reference,
            renamed_from=options.renamed_from,
        )

    def _unique(self, found: Gathered) -> tuple[tuple[str, ...], ...]:
        groups = []
        for group in found.options.get("unique", ()):
            if isinstance(group, str):
                found.faults.append(
                    f"{found.name}: unique holds groups of fields, such as unique=[('project', 'title')]; "
                    f"a single field says Field(unique=True)."
                )
                break
            names = self._shapes[found.cls]
            for name in group:
                if name not in names and name not in found.broken:
                    text = f"{found.name}: unique names {name!r}, which is no field{nearest(name, names)}"
                    found.faults.append(sentence(text))
                elif name in names and names[name].type.kind == "json":
                    found.faults.append(f"{found.name}: unique names {name!r}, which holds JSON.")
            if isinstance(group, Unique) and group.nulls not in ("distinct", "alike"):
                found.faults.append(f"{found.name}: nulls is 'distinct' or 'alike'.")
            groups.append(tuple(group))
        return tuple(groups)

    def _search(self, found: Gathered) -> tuple[str, ...]:
        given = found.options.get("search", ())
        if isinstance(given, str):
            found.faults.append(f"{found.name}: search holds names of fields, such as search=({given!r},).")
            return ()
        names = tuple(dict.fromkeys(given))
        for name in names:
            fault = self._not_searched(found, name)
            if fault:
                found.faults.append(sentence(f"{found.name}: search names {name!r}, {fault}"))
        return names

    def _history(self, found: Gathered) -> float | None:
        """For how many seconds changes are kept; None when nobody may see them."""
        rules, age = found.options.get("rules"), found.options.get("history")
        if not isinstance(rules, Mapping) or "history" not in rules:
            if age is not None:
                found.faults.append(
                    f"{found.name}: history says how long changes are kept, so rules must say who may see them: "
                    "rules={'history': …}."
                )
            return None
        if not found.options.get("live", True):
            found.faults.append(f"{found.name}: live=False logs no changes, so there is no history of them.")
        if age is None:
            return math.inf
        if not isinstance(age, timedelta) or age <= timedelta():
            found.faults.append(f"{found.name}: history is a time to keep changes for, such as timedelta(days=365).")
            return None
        return age.total_seconds()

    def _not_searched(self, found: Gathered, name: str) -> str:
        """Why nobody can search in a field; nothing when all who may read the records can."""
        shapes = self._shapes[found.cls]
        if name not in shapes:
            return "" if name in found.broken else f"which is no field{nearest(name, shapes)}"
        options, shape = found.fields[name], shapes[name]
        if options.visible == "secret" or shape.is_password:
            return "which is secret"
        if options.visible == "private" or options.read is not None:
            return "which not everybody may read who may read the record: what is found would tell what is in it"
        if shape.target is not None or shape.type.kind != "text":
            return "which is no text"
        return ""
