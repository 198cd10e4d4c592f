"""Crudite for a soak: the items of the benchmarks with a change log so short that some clients find theirs gone."""

from datetime import timedelta
from typing import Literal

from crudite import App, Resource, allow
from crudite.interfaces.base import Limits
from crudite.live import Retention


class Item(Resource, rules=allow.everyone, max_limit=1000):
    title: str
    notes: str
    status: Literal["todo", "doing", "done"] = "todo"
    done: bool = False
    priority: int = 0
    owner: int


app = App(
    Item,
    limits=Limits(connections=20_000, arrivals=20_000),
    retention=Retention(age=timedelta(seconds=30), every=timedelta(seconds=5)),
)
