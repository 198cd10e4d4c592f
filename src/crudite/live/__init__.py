"""The live engine: from committed changes to what each subscriber should see."""

from crudite.live.connection import Connection, Holds
from crudite.live.cursors import schema_of
from crudite.live.engine import Engine
from crudite.live.frames import Changed, Format, Frame, LaneName, Subscribed, Subscription
from crudite.live.limits import LiveLimits, Metrics
from crudite.live.outbox import EndReason
from crudite.live.retention import Retention, keep_trimmed

__all__ = [
    "Changed",
    "Connection",
    "EndReason",
    "Engine",
    "Format",
    "Frame",
    "Holds",
    "LaneName",
    "LiveLimits",
    "Metrics",
    "Retention",
    "Subscribed",
    "Subscription",
    "keep_trimmed",
    "schema_of",
]
