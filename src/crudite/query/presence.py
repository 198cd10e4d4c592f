"""Which records of a resource are there: all of them, but for those that were deleted and are kept to be restored."""

from crudite.query.tree import EVERYTHING, NOTHING, Filter, Path, Test
from crudite.schema import DELETED_AT, ResourceSchema


def present(schema: ResourceSchema) -> Filter:
    """The records that are there."""
    return _is_null(schema) if schema.is_soft else EVERYTHING


def is_all_there(filter: Filter, schema: ResourceSchema) -> bool:
    """Whether a filter of a resource holds for every record that is there."""
    return filter in (EVERYTHING, present(schema))


def absent(schema: ResourceSchema) -> Filter:
    """The records that were deleted and are kept."""
    return _is_null(schema, negated=True) if schema.is_soft else NOTHING


def _is_null(schema: ResourceSchema, negated: bool = False) -> Test:
    field = schema.fields[DELETED_AT]
    return Test(Path((), field, (), field.type), "isnull", True, negated)
