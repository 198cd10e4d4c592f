"""The Pydantic models of an item, as FastAPI's documentation writes them."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict


class ItemCreate(BaseModel):
    title: str
    notes: str
    status: Literal["todo", "doing", "done"] = "todo"
    done: bool = False
    priority: int = 0
    owner: int


class ItemRead(ItemCreate):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    version: int
    created_at: datetime
    updated_at: datetime
