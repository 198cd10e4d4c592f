"""The law of rules: a list, a single read and a stream show an actor the same, whatever the rules are, filters or
functions."""

from contextlib import AsyncExitStack
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from crudite import Actor, Field, Record, Ref, allow, me
from crudite.testing import Client, View
from tests.flows.worlds import by_name, client_for

ACTORS = (None, "ann", "bob:clerk")

atoms = st.sampled_from(
    [
        allow.everyone, allow.nobody, allow.signed_in, allow.role("clerk"), allow.where(owner=me.id),
        allow.where(owner__ne=me.id), allow.where(kind=1), allow.where(kind__gt=0), allow.where(public=True),
        allow.where(folder__owner=me.id), allow.where(folder__open=True), allow.where(folder=None),
        allow.where(folder__owner="ann", folder__open=False),
    ]
)  # fmt: skip
folder_atoms = st.sampled_from(
    [allow.everyone, allow.nobody, allow.role("clerk"), allow.where(owner=me.id), allow.where(open=True)]
)


def combined(atoms: Any) -> Any:
    """Rules made of atoms with and, or, not."""
    return st.recursive(
        atoms,
        lambda inner: st.one_of(
            st.tuples(inner, inner).map(lambda pair: pair[0] & pair[1]),
            st.tuples(inner, inner).map(lambda pair: pair[0] | pair[1]),
            inner.map(lambda one: ~one),
        ),
        max_leaves=4,
    )


def is_odd(record: Any, actor: Actor) -> bool:
    return bool(record.kind % 2 == 1)


def concerns(record: Any, actor: Actor) -> bool:
    return actor.id == record.owner or "clerk" in actor.roles


def is_fragile(record: Any, actor: Actor) -> bool:
    return bool(1 // record.secret == 1)  # of a secret 0 it cannot tell


checks = st.sampled_from([allow.check(is_odd), allow.check(concerns), allow.check(is_fragile)])
rules = combined(atoms)
owners = st.sampled_from(["ann", "bob", "eve"])
docs = st.fixed_dictionaries(
    {}, optional={
        "owner": owners, "kind": st.integers(0, 2), "public": st.booleans(), "secret": st.integers(0, 3),
        "folder": st.sampled_from([None, "f1", "f2"]),
    },
)  # fmt: skip
folders = st.fixed_dictionaries({}, optional={"owner": owners, "open": st.booleans()})
steps = st.one_of(
    st.tuples(st.just("doc"), st.integers(1, 4), docs),
    st.tuples(st.just("folder"), st.sampled_from(["f1", "f2"]), folders),
    st.tuples(st.just("delete"), st.integers(1, 4), st.none()),
)


@settings(max_examples=30)
@given(
    reads=combined(atoms | checks),
    field_rule=rules,
    folder_rule=combined(folder_atoms),
    story=st.lists(steps, min_size=1, max_size=8),
    over=st.sampled_from(["sse", "websocket"]),
)
async def test_lists_single_reads_and_streams_agree_after_every_write(
    reads: Any, field_rule: Any, folder_rule: Any, story: list[Any], over: Any
) -> None:
    class Folder(Record[str], rules={"read": folder_rule}):
        owner: str = "ann"
        open: bool = False

    class Paper(Record[int], rules={"read": reads}):
        owner: str = "ann"
        kind: int = 0
        public: bool = False
        secret: int = Field(default=0, read=field_rule)
        folder: Ref[Folder] | None = None

    async with client_for(Folder, Paper, auth=by_name) as nobody, AsyncExitStack() as stack:
        records = nobody.app.records
        for key in ("f1", "f2"):
            await records.create(Folder, id=key)
        clients = [nobody.acting(name) for name in ACTORS]
        views: list[View | None] = []
        for client in clients:
            refused = (await client.get("/papers")).status != 200
            views.append(None if refused else await stack.enter_async_context(client.live("papers", over=over)))
        for view in views:
            if view is not None:
                await view.ready()
        for kind, key, values in story:
            told = [len(view.events) if view is not None else 0 for view in views]
            await write(records, Folder, Paper, kind, key, values)
            for client, view, before in zip(clients, views, told, strict=True):
                if view is not None:
                    await client.settled()
                    await check(client, view, before)


async def write(records: Any, folder: Any, doc: Any, kind: str, key: Any, values: Any) -> None:
    if kind == "folder":
        await records.update(folder, key, **values)
        return
    is_there = await records.count(doc.where(id=key))
    if kind == "delete":
        if is_there:
            await records.delete(doc, key)
    elif is_there:
        await records.update(doc, key, **values)
    else:
        await records.create(doc, id=key, **values)


async def check(client: Client, view: View, before: int) -> None:
    """The list, each single read and the view show the same; no event since then showed anything else."""
    listed = {row["id"]: row for row in (await client.get("/papers")).json}
    for key in range(1, 5):
        found = await client.get(f"/papers/{key}")
        assert (found.json if found.status == 200 else None) == listed.get(key)
    assert (await client.get("/papers?count=exact&limit=1")).headers["x-total-count"] == str(len(listed))
    assert {row["id"]: row for row in view.records} == listed
    for kind, data in view.events[before:]:
        if kind == "added":
            assert data == listed[data["id"]]
        if kind == "changed":
            assert data["fields"].items() <= listed[data["key"]].items()
        if kind == "removed":
            assert data["key"] not in listed
