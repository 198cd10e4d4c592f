"""Cursors and keys: positions that only this server can read, and proofs that rights are unchanged."""

from hashlib import blake2b

from crudite.messages import LiveQuery
from crudite.tokens import Sealer

_HALF = 16


class Cursors:
    """Makes the cursors of positions and the keys of queries, under a secret of at least 16 bytes.

    The same position gives the same cursor, whose bytes all connections can share.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 16:
            raise ValueError("the secret must have at least 16 bytes")
        # A token of the same secret that means something else must not open as a cursor.
        self._sealer = Sealer(blake2b(secret, person=b"crudite-live").digest())

    def seal(self, token: bytes) -> str:
        """The cursor of a position's token."""
        return self._sealer.seal(token)

    def open(self, cursor: str) -> bytes | None:
        """The token in a cursor; None when this secret did not make it."""
        return self._sealer.open(cursor)

    def key(self, query: LiveQuery) -> str:
        """Equal for two queries that show the same records with the same fields by the same schema."""
        schema = query.plan.selection.schema
        shape = self._sealer.digest(f"{schema.name} {schema.fingerprint}")
        return self._sealer.digest(query.identity)[:_HALF] + shape[:_HALF]

    @staticmethod
    def same_schema(key: str, other: str) -> bool:
        """Whether two keys belong to the same schema, so that they differ for another reason if they do."""
        return schema_of(key) == schema_of(other)


def schema_of(key: str) -> str:
    """The part of a key that tells one schema from another."""
    return key[_HALF:]
