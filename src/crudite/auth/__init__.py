"""Who is asking, and for how long."""

from crudite.auth.identification import Authenticate, Authenticator, Home, Identification
from crudite.auth.introspection import Introspection
from crudite.auth.jwt import Jwt
from crudite.auth.living import FAREWELL, WARNING, Guest, Living, Stay

__all__ = [
    "FAREWELL", "WARNING", "Authenticate", "Authenticator", "Guest", "Home", "Identification",
    "Introspection", "Jwt", "Living", "Stay",
]  # fmt: skip
