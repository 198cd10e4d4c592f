"""What a role must be allowed on PostgreSQL: to own the tables; nothing about the server."""

import pytest

from crudite.stores.postgresql import PostgresqlStore
from crudite.testing.samples import BOOK, LIBRARY, create, key_of, listing, unit, update
from crudite.testing.store_base import next_batch
from tests.services.strangers import stranger


@pytest.mark.parametrize("place", ["database", "schema"])
async def test_a_role_that_owns_its_database_or_schema_and_nothing_else_is_enough(
    postgresql_database: str, place: str
) -> None:
    name = postgresql_database.rpartition("/")[2]
    role = f"app_{name[-8:]}"
    async with stranger(postgresql_database) as admin:
        await admin.execute(f"CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION")
        await admin.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC; GRANT CONNECT ON DATABASE {name} TO {role}")
        await admin.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        url = postgresql_database.replace("postgres@", f"{role}@")
        if place == "database":
            await admin.execute(f"ALTER DATABASE {name} OWNER TO {role}")
            await admin.execute(f"ALTER SCHEMA public OWNER TO {role}")
        else:
            await admin.execute(f"CREATE SCHEMA ours AUTHORIZATION {role}")
            url += "?schema=ours"
        try:
            store = PostgresqlStore(url)
            for _ in range(2):
                await store.open(LIBRARY)
                batches = store.follow((await store.read([])).position)
                key = key_of(await store.write(unit(create(BOOK, title="a"))))
                await store.write(unit(update(BOOK, key, title="b")))
                assert (await next_batch(batches)).changes
                await batches.aclose()  # type: ignore[attr-defined]
                assert (await store.page(listing(BOOK))).keys
                await store.trim(older_than=0, larger_than=0)
                await store.close()
        finally:
            await admin.execute(f"REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}; DROP ROLE {role}")
