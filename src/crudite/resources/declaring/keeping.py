"""What a resource declares about its deleted records: whether they are kept, for how long, and who may do what with
them."""

import math
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from crudite.messages import ActionName
from crudite.query.presence import absent, present
from crudite.query.simplify import join
from crudite.query.tree import Filter
from crudite.resources.declaring.gather import Gathered
from crudite.schema import DELETED_AT, ResourceSchema

_OF_THOSE_THERE: tuple[ActionName, ...] = ("list", "read", "replace", "update", "delete")
_OF_THOSE_KEPT = ("restore", "purge")


def soft_delete_of(found: Gathered) -> float | None:
    """For how many seconds deleted records are kept; None when they are not."""
    given = found.options.get("soft_delete", False)
    if given is False:
        rules = found.options.get("rules")
        for name in _OF_THOSE_KEPT:
            if isinstance(rules, Mapping | list | tuple) and name in rules:
                found.faults.append(
                    f"{found.name}: rules have {name!r}, which is about deleted records, and none are kept: say "
                    "soft_delete=True."
                )
        return None
    if DELETED_AT in found.broken:
        return None
    if given is True:
        return math.inf
    if not isinstance(given, timedelta) or given <= timedelta():
        found.faults.append(
            f"{found.name}: soft_delete is True, or a time to keep deleted records for, such as timedelta(days=30)."
        )
        return None
    return given.total_seconds()


def rules_of_there(schema: ResourceSchema, rules: Mapping[ActionName, Filter]) -> dict[ActionName, Filter]:
    """The rules of a resource, each for those records that it is about: what is deleted is not there, and can only be
    restored, seen by those who may restore it, and deleted for good. A history is told of both."""
    if not schema.is_soft:
        return {action: rule for action, rule in rules.items() if action not in _OF_THOSE_KEPT}
    there, kept = present(schema), absent(schema)
    narrowed = {
        action: join((rule, there), either=False) if action in _OF_THOSE_THERE else rule
        for action, rule in rules.items()
    }
    narrowed["restore"] = join((rules["restore"], kept), either=False)
    narrowed["deleted"] = join((rules["read"], rules["restore"], kept), either=False)
    narrowed["list_deleted"] = join((rules["list"], narrowed["deleted"]), either=False)
    return narrowed


def check_going_along(gathered: Collection[Gathered], schemas: Mapping[type[Any], ResourceSchema]) -> None:
    """What goes along with a record that can be restored can be restored itself; but for what is ours: nobody misses
    the sessions of an account."""
    soft = {schema.name for schema in schemas.values() if schema.is_soft}
    for found in gathered:
        schema = schemas[found.cls]
        for name, spec in schema.fields.items():
            points = spec.reference
            is_ours = found.cls.__module__.startswith("crudite.")
            if points is None or not points.enforced or points.target not in soft or schema.is_soft or is_ours:
                continue
            if points.on_delete in ("cascade", "force"):
                found.faults.append(
                    f"{found.name}.{name}: {points.target} keeps deleted records, so what goes along with one is kept "
                    f"too: give {found.name} soft_delete=True, or another on_delete."
                )
