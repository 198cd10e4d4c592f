"""Who is asking, and for how long."""

from crudite.auth.api_keys import ApiKeys, Issued
from crudite.auth.identification import Authenticate, Authenticator, Home, Identification, Narrowing
from crudite.auth.introspection import Introspection
from crudite.auth.jwt import Jwt
from crudite.auth.living import FAREWELL, WARNING, Guest, Living, Stay
from crudite.auth.oidc import OpenId
from crudite.auth.sessions import Mail, Sessions
from crudite.auth.tickets import Tickets

__all__ = [
    "FAREWELL", "WARNING", "ApiKeys", "Authenticate", "Authenticator", "Guest", "Home", "Identification",
    "Introspection", "Issued", "Jwt", "Living", "Mail", "Narrowing", "OpenId", "Sessions", "Stay", "Tickets",
]  # fmt: skip
