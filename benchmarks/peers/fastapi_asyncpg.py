"""FastAPI with SQLAlchemy's asyncio extension and asyncpg, as the documentation of both teaches it."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, HTTPException, Query
from sqlalchemy import DateTime, insert, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks.peers.models import ItemCreate, ItemRead
from benchmarks.rows import ROWS, body, key, new_key

DATABASE = os.environ["BENCH_DATABASE"].replace("postgresql:", "postgresql+asyncpg:", 1)


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_key)
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=lambda: datetime.now(UTC))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=lambda: datetime.now(UTC))
    title: Mapped[str]
    notes: Mapped[str]
    status: Mapped[str]
    done: Mapped[bool]
    priority: Mapped[int]
    owner: Mapped[int]


engine = create_async_engine(DATABASE)
# The setting that SQLAlchemy's asyncio documentation recommends; it spares the read after each commit.
sessions = async_sessionmaker(engine, expire_on_commit=False)


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


async def fill(count: int) -> None:
    filling = create_async_engine(DATABASE)
    async with filling.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(insert(Item), [{"id": key(index), **body(index)} for index in range(count)])
    await filling.dispose()


def prepare(count: int = ROWS) -> None:
    """Make the table and fill it; runs before the server listens."""
    asyncio.run(fill(count))
