"""What the URL of a database on PostgreSQL may say, beside the settings of PostgreSQL's own that it may hold."""

import asyncpg
import pytest

from crudite.postgresql.address import parse

_OF_THE_CLIENT = "tcp_user_timeout"
"""A setting of servers by its name, but in a URL it is a parameter of libpq, which the driver has not."""

pytestmark = pytest.mark.anyio


async def test_no_setting_that_a_connection_may_have_is_taken_for_another_name_mistyped(postgresql: str) -> None:
    connection = await asyncpg.connect(postgresql)
    names = "SELECT name FROM pg_settings WHERE context IN ('user', 'superuser', 'backend', 'superuser-backend')"
    settings = {row["name"]: "1" for row in await connection.fetch(names) if row["name"] != _OF_THE_CLIENT}
    await connection.close()
    assert len(settings) > 200
    asked = "&".join(f"{name}={value}" for name, value in settings.items())
    assert parse(f"postgresql://host/name?{asked}", also=("prefix",)).settings == settings
