"""Crudite, as its documentation shows it: one class, one application, nothing tuned."""

import os
from typing import Literal

from crudite import App, Resource, allow


class Item(Resource, rules=allow.everyone):
    title: str
    notes: str
    status: Literal["todo", "doing", "done"] = "todo"
    done: bool = False
    priority: int = 0
    owner: int


app = App(Item, store=f"sqlite:///{os.environ['BENCH_DATABASE']}")
