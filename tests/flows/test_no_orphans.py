"""Nothing is left that points at what is gone, also where two servers write at the same time."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from crudite import App, Conflict, Field, Invalid, NotFound, PreconditionFailed, Record, Ref, allow
from crudite.testing import Client
from tests.services.stores import kept_store


class Tree(Record[int], rules=allow.everyone):
    pass


class Branch(Record[int], rules=allow.everyone):
    tree: Ref[Tree] = Field(on_delete="cascade")
    beside: Ref["Branch"] | None = Field(default=None, on_delete="clear")


class Leaf(Record[int], rules=allow.everyone):
    branch: Ref[Branch] = Field(on_delete="force")


class Guard(Record[int], rules=allow.everyone):
    leaf: Ref[Leaf] = Field(on_delete="restrict")


TREES = 6


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_no_orphan_is_left_by_two_servers_that_make_and_delete_at_once(seed: int) -> None:
    chance, store = random.Random(seed), kept_store()
    resources = (Tree, Branch, Leaf, Guard)
    async with Client(App(*resources, store=store)) as one, Client(App(*resources, store=store)) as two:
        for n in range(1, TREES + 1):
            await one.app.records.create(Tree)
            for _ in range(2):
                await one.app.records.create(Branch, tree=n)

        def work(client: Client) -> Callable[[], Coroutine[Any, Any, Any]]:
            records = client.app.records
            tree, branch, leaf = chance.randint(1, TREES), chance.randint(1, 18), chance.randint(1, 12)
            forced = chance.random() < 0.7
            return chance.choice([
                lambda: records.create(Leaf, branch=branch),
                lambda: records.create(Leaf, branch=branch),
                lambda: records.create(Branch, tree=tree, beside=branch),
                lambda: records.create(Guard, leaf=leaf),
                lambda: records.update(Leaf, leaf, branch=branch),
                lambda: records.delete(Tree, min(tree, TREES - 1), force=forced),
                lambda: records.delete(Branch, branch, force=forced),
                lambda: records.delete(Leaf, leaf),
            ])  # fmt: skip

        async def attempt(asked: Callable[[], Coroutine[Any, Any, Any]]) -> None:
            with suppress(Conflict, Invalid, NotFound, PreconditionFailed):
                await asked()

        for _ in range(8):
            await asyncio.gather(*(attempt(work((one, two)[n % 2])) for n in range(8)))
        left: list[Any] = [await one.app.records.list(resource) for resource in resources]
        trees, branches, leaves, guards = left
        assert {branch.tree for branch in branches} <= {tree.id for tree in trees}
        assert {branch.beside for branch in branches} - {None} <= {branch.id for branch in branches}
        assert {leaf.branch for leaf in leaves} <= {branch.id for branch in branches}
        assert {guard.leaf for guard in guards} <= {leaf.id for leaf in leaves}
        assert 0 < len(trees) < TREES
