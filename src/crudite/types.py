"""Names for plain data."""

from typing import Any, TypeAlias

Plain: TypeAlias = Any
"""A value as it travels in JSON: str, int, float, bool, None, a list or a dict with str keys."""

Key: TypeAlias = str | int
"""The key of a record, as plain data."""

PlainRecord: TypeAlias = dict[str, Plain]
"""A record as plain data: the names of its fields to their plain values."""
