"""Crudite, as its documentation shows it: one class, one application, nothing tuned.

The limits are wider because all clients of a benchmark come from one address, and at once.
"""

from typing import Literal

from crudite import App, Limits, LiveLimits, Resource, allow


class Item(Resource, rules=allow.everyone):
    title: str
    notes: str
    status: Literal["todo", "doing", "done"] = "todo"
    done: bool = False
    priority: int = 0
    owner: int


app = App(Item, limits=Limits(connections=20_000, arrivals=20_000, live=LiveLimits(subscriptions=200)))
