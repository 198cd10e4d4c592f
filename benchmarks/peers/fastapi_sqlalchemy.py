"""FastAPI with SQLAlchemy's asyncio extension on SQLite, as the documentation of both teaches it."""

import os
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, HTTPException, Query
from sqlalchemy import create_engine, event, insert, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks.peers.models import ItemCreate, ItemRead
from benchmarks.rows import ROWS, body, key, new_key

DATABASE = os.environ["BENCH_DATABASE"]


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_key)
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))
    updated_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))
    title: Mapped[str]
    notes: Mapped[str]
    status: Mapped[str]
    done: Mapped[bool]
    priority: Mapped[int]
    owner: Mapped[int]


engine = create_async_engine(f"sqlite+aiosqlite:///{DATABASE}")
# The setting that SQLAlchemy's asyncio documentation recommends; it spares the read after each commit.
sessions = async_sessionmaker(engine, expire_on_commit=False)


@event.listens_for(engine.sync_engine, "connect")
def durable(connection: Any, _record: Any) -> None:
    """The durability of every peer, set on each connection of the pool."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


async def session() -> AsyncIterator[AsyncSession]:
    async with sessions() as opened:
        yield opened


Session = Annotated[AsyncSession, Depends(session)]
app = FastAPI()


@app.get("/items", response_model=list[ItemRead])
async def list_items(session: Session, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> Sequence[Item]:
    return (await session.scalars(select(Item).order_by(Item.id).limit(limit))).all()


@app.get("/items/{item_id}", response_model=ItemRead)
async def read_item(item_id: UUID, session: Session) -> Item:
    item = await session.get(Item, item_id)
    if item is None:
        raise HTTPException(404, "Item not found")
    return item


@app.post("/items", response_model=ItemRead, status_code=201)
async def create_item(data: ItemCreate, session: Session) -> Item:
    item = Item(**data.model_dump())
    session.add(item)
    await session.commit()
    return item


def prepare(count: int = ROWS) -> None:
    """Make the table and fill it; runs before the server listens."""
    plain = create_engine(f"sqlite:///{DATABASE}")
    Base.metadata.create_all(plain)
    with plain.begin() as connection:
        connection.execute(insert(Item), [{"id": key(index), **body(index)} for index in range(count)])
    plain.dispose()
