"""The PostgreSQL store."""

from crudite.stores.postgresql.log import PostgresqlPosition
from crudite.stores.postgresql.store import PostgresqlStore

__all__ = ["PostgresqlPosition", "PostgresqlStore"]
