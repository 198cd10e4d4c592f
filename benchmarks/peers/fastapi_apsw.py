"""FastAPI with its models kept and all behind them tuned by hand: one apsw connection, used in the loop."""

import os
from datetime import UTC, datetime
from typing import Annotated, Any

import apsw
from fastapi import FastAPI, HTTPException, Query

from benchmarks.peers.models import ItemCreate
from benchmarks.rows import ROWS, body, key, new_key

NAMES = ("id", "version", "created_at", "updated_at", "title", "notes", "status", "done", "priority", "owner")
COLUMNS = ", ".join(NAMES)
READ = f"SELECT {COLUMNS} FROM items WHERE id = ?"
LIST = f"SELECT {COLUMNS} FROM items ORDER BY id LIMIT ?"
INSERT = f"INSERT INTO items ({COLUMNS}) VALUES ({', '.join('?' * len(NAMES))})"
TABLE = """CREATE TABLE IF NOT EXISTS items (
    id TEXT PRIMARY KEY, version INTEGER NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
    title TEXT NOT NULL, notes TEXT NOT NULL, status TEXT NOT NULL, done INTEGER NOT NULL,
    priority INTEGER NOT NULL, owner INTEGER NOT NULL) WITHOUT ROWID"""

database = apsw.Connection(os.environ["BENCH_DATABASE"])
database.pragma("journal_mode", "wal")
database.pragma("synchronous", "full")
database.execute(TABLE)


class ItemRead(ItemCreate):
    """The response model with key and times as the text that is stored: a seventh less CPU for a list."""

    id: str
    version: int
    created_at: str
    updated_at: str


app = FastAPI()


@app.get("/items", response_model=list[ItemRead])
async def list_items(limit: Annotated[int, Query(ge=1, le=200)] = 50) -> Any:
    return [dict(zip(NAMES, row, strict=True)) for row in database.execute(LIST, (limit,))]


@app.get("/items/{item_id}", response_model=ItemRead)
async def read_item(item_id: str) -> Any:
    for row in database.execute(READ, (item_id,)):
        return dict(zip(NAMES, row, strict=True))
    raise HTTPException(404, "Item not found")


@app.post("/items", response_model=ItemRead, status_code=201)
async def create_item(data: ItemCreate) -> Any:
    return store(data.model_dump())


def store(fields: dict[str, Any], item_id: str | None = None) -> dict[str, Any]:
    """Insert one item, committed when this returns, and give it as a dictionary."""
    now = datetime.now(UTC).isoformat()
    item = {"id": item_id or str(new_key()), "version": 1, "created_at": now, "updated_at": now, **fields}
    database.execute(INSERT, [item[name] for name in NAMES])
    return item


def prepare(count: int = ROWS) -> None:
    """Fill the table; runs before the server listens."""
    with database:
        for index in range(count):
            store(dict(body(index)), str(key(index)))
