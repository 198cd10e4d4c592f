"""API keys: bearer tokens that accounts make for their programs, kept as hashes, narrowed by scopes."""

from crudite.auth.api_keys.keys import ApiKeys, Issued

__all__ = ["ApiKeys", "Issued"]
