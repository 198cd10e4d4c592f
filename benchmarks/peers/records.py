"""A record for peers that keep none: made from what was sent, and told to all."""

from datetime import UTC, datetime
from typing import Any

from benchmarks.rows import new_key


def record(data: dict[str, Any]) -> dict[str, Any]:
    """The ten fields: what was sent, with key, version and times."""
    now = datetime.now(UTC).isoformat()
    return {"id": str(new_key()), "version": 1, "created_at": now, "updated_at": now, **data}
