"""What the authors of applications, stores and interfaces test with."""

from crudite.testing.asgi import Response
from crudite.testing.client import Client
from crudite.testing.clock import Clock
from crudite.testing.faults import Faulty, Gate
from crudite.testing.lines import Line
from crudite.testing.socket import Socket
from crudite.testing.streams import Event, Stream
from crudite.testing.views import Refusal, View

__all__ = ["Client", "Clock", "Event", "Faulty", "Gate", "Line", "Refusal", "Response", "Socket", "Stream", "View"]
