"""The compiled description of what an application declares: resources, their fields and references."""

from crudite.schema.fields import (
    INT64,
    SAFE_INTEGER,
    FieldType,
    Kind,
    format_datetime,
    format_decimal,
    refuse_unstorable_text,
)
from crudite.schema.resource import DELETED_AT, NO_DEFAULT, Catalog, FieldSpec, Link, Reference, ResourceSchema

__all__ = [
    "DELETED_AT",
    "INT64",
    "NO_DEFAULT",
    "SAFE_INTEGER",
    "Catalog",
    "FieldSpec",
    "FieldType",
    "Kind",
    "Link",
    "Reference",
    "ResourceSchema",
    "format_datetime",
    "format_decimal",
    "refuse_unstorable_text",
]
