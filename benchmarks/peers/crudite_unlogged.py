"""Crudite with the same record outside of the change log: what the log costs."""

from typing import Literal

from crudite import App, Resource, allow


class Item(Resource, rules=allow.everyone, live=False):
    title: str
    notes: str
    status: Literal["todo", "doing", "done"] = "todo"
    done: bool = False
    priority: int = 0
    owner: int


app = App(Item)
