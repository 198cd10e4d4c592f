"""FastAPI with SQLModel on SQLite, as its documentation teaches models with relationships: plain functions, a session
for each request, a response model with what is related."""

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Optional

from fastapi import Depends, FastAPI, Query
from sqlalchemy import event, insert
from sqlmodel import Field, Relationship, Session, SQLModel, col, create_engine, select

from benchmarks import tasks

engine = create_engine(f"sqlite:///{os.environ['BENCH_DATABASE']}", connect_args={"check_same_thread": False})


class Kept(SQLModel):
    version: int = 1
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    updated_at: datetime = Field(default_factory=lambda: datetime.now(UTC))


class PersonBase(Kept):
    name: str
    email: str


class Person(PersonBase, table=True):
    id: int | None = Field(default=None, primary_key=True)


class PersonPublic(PersonBase):
    id: int


class Project(Kept, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str


class TaskBase(Kept):
    project: int = Field(foreign_key="project.id", index=True)
    title: str
    done: bool


class Task(TaskBase, table=True):
    id: int | None = Field(default=None, primary_key=True)
    assignee_id: int = Field(foreign_key="person.id")
    assignee: Optional[Person] = Relationship()  # noqa: UP045 (a relationship's type is read as text)


class TaskPublicWithAssignee(TaskBase):
    id: int
    assignee: PersonPublic


@event.listens_for(engine, "connect")
def durable(connection: Any, _record: Any) -> None:
    """The durability of every peer, set on each connection of the pool."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def session() -> Iterator[Session]:
    with Session(engine) as opened:
        yield opened


app = FastAPI()


@app.get("/projects/{project_id}/tasks", response_model=list[TaskPublicWithAssignee])
def list_tasks(
    project_id: int, session: Annotated[Session, Depends(session)], limit: Annotated[int, Query(le=200)] = 50
) -> Sequence[Task]:
    return session.exec(select(Task).where(Task.project == project_id).order_by(col(Task.id)).limit(limit)).all()


def prepare() -> None:
    """Make the tables and fill them; runs before the server listens."""
    SQLModel.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(Person), [tasks.person(key) for key in range(1, tasks.PEOPLE + 1)])
        connection.execute(insert(Project), [tasks.project(key) for key in range(1, tasks.PROJECTS + 1)])
        rows = [dict(tasks.task(key)) for key in range(1, tasks.PROJECTS * tasks.EACH + 1)]
        connection.execute(insert(Task), [{**row, "assignee_id": row.pop("assignee")} for row in rows])
