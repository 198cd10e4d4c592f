"""FastAPI with the connection manager of its WebSocket chapter: each write is sent to every socket.

No query, no rules, no snapshot, no resume, one process: less than a live query does, and the way
that most people start. Storing is that of `fastapi_apsw`.
"""

from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI, HTTPException, WebSocket, WebSocketDisconnect
from pydantic import BaseModel

from benchmarks.peers import fastapi_apsw
from benchmarks.peers.fastapi_apsw import ItemRead
from benchmarks.peers.models import ItemCreate

app = FastAPI()
app.get("/items", response_model=list[ItemRead])(fastapi_apsw.list_items)
app.get("/items/{item_id}", response_model=ItemRead)(fastapi_apsw.read_item)
prepare = fastapi_apsw.prepare


class ItemUpdate(BaseModel):
    title: str


class ConnectionManager:
    """The class of FastAPI's documentation; the list is copied because sockets leave while it is walked."""

    def __init__(self) -> None:
        self.active_connections: list[WebSocket] = []

    async def connect(self, websocket: WebSocket) -> None:
        await websocket.accept()
        self.active_connections.append(websocket)

    def disconnect(self, websocket: WebSocket) -> None:
        self.active_connections.remove(websocket)

    async def broadcast(self, message: str) -> None:
        for connection in list(self.active_connections):
            await connection.send_text(message)


manager = ConnectionManager()


@app.websocket("/ws")
async def subscribe(websocket: WebSocket) -> None:
    await manager.connect(websocket)
    try:
        while True:
            await websocket.receive_text()
    except WebSocketDisconnect:
        manager.disconnect(websocket)


@app.post("/items", response_model=ItemRead, status_code=201)
async def create_item(data: ItemCreate) -> Any:
    item = fastapi_apsw.store(data.model_dump())
    await manager.broadcast(ItemRead.model_validate(item).model_dump_json())
    return item


@app.patch("/items/{item_id}", response_model=ItemRead)
async def update_item(item_id: str, data: ItemUpdate) -> Any:
    fastapi_apsw.database.execute(
        "UPDATE items SET title = ?, version = version + 1, updated_at = ? WHERE id = ?",
        (data.title, datetime.now(UTC).isoformat(), item_id),
    )
    for row in fastapi_apsw.database.execute(fastapi_apsw.READ, (item_id,)):
        item = dict(zip(fastapi_apsw.NAMES, row, strict=True))
        await manager.broadcast(ItemRead.model_validate(item).model_dump_json())
        return item
    raise HTTPException(404, "Item not found")
