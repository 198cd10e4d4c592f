"""The store contract: bringing a database from one schema to the next one."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from crudite.changes import Change, Refused
from crudite.errors import StoreOutdated
from crudite.schema import FieldSpec, FieldType, Reference, ResourceSchema
from crudite.stores.base import Batch
from crudite.testing.samples import catalog, create, delete, listing, plain, schema, text, unit, update
from crudite.testing.store_base import OpensStores, next_batch

INTEGER = FieldType("integer")
NOTE = schema("Note", [text("title"), FieldSpec("size", INTEGER, nullable=True)])


def note(*fields: FieldSpec, **more: Any) -> ResourceSchema:
    """The resource Note with other fields."""
    return schema("Note", fields, **more)


class SchemaContract(OpensStores):
    """What becomes of a database when the application changes."""

    async def after(self, place: Path, old: ResourceSchema, new: ResourceSchema, *values: dict[str, Any]) -> Any:
        """The records without what the store adds, as plain data, after a change that loses nothing."""
        async with self.opened(place, catalog(old)) as store:
            for one in values:
                await store.write(unit(create(old, **one)))
        async with self.opened(place, catalog(new)) as store:
            assert list(await store.plan(catalog(new))) == []
            page = await store.page(listing(new))
        records = [msgspec.json.decode(record) for record in page.records]
        hidden = ("id", "version", "created_at", "updated_at")
        return [{name: value for name, value in record.items() if name not in hidden} for record in records]

    async def refused(self, place: Path, new: ResourceSchema, *words: str) -> StoreOutdated:
        """Opening with the new schema is refused, and says why with these words; nothing has changed."""
        store = self.make_store(place)
        with pytest.raises(StoreOutdated) as outdated:
            await store.open(catalog(new))
        for word in words:
            assert word in str(outdated.value)
        return outdated.value

    async def filled(self, place: Path, *values: dict[str, Any]) -> None:
        """A database of notes."""
        async with self.opened(place, catalog(NOTE)) as store:
            for one in values:
                await store.write(unit(create(NOTE, **one)))

    async def test_a_database_that_agrees_needs_no_steps(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path, catalog(NOTE)) as store:
            assert list(await store.plan(catalog(NOTE))) == []
            assert list(await store.migrate(catalog(NOTE))) == []

    async def test_a_new_database_is_not_set_up_unless_told(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        with pytest.raises(StoreOutdated):
            await store.open(catalog(NOTE), migrate=False)
        await store.open(catalog(NOTE))
        await store.close()

    async def test_a_new_field_gets_its_default(self, tmp_path: Path) -> None:
        new = note(text("title"), FieldSpec("size", INTEGER, nullable=True), text("color", default="red"),
                   FieldSpec("due", FieldType("date"), nullable=True))  # fmt: skip
        assert await self.after(tmp_path, NOTE, new, {"title": "a", "size": 1}) == [
            {"title": "a", "size": 1, "color": "red", "due": None}
        ]

    async def test_a_new_field_without_a_default_is_refused_while_there_are_records(self, tmp_path: Path) -> None:
        new = note(text("title"), FieldSpec("size", INTEGER, nullable=True), text("color"))
        await self.filled(tmp_path, {"title": "a"})
        await self.refused(tmp_path, new, "color needs a default", "1 records")

    async def test_a_new_field_without_a_default_is_added_to_an_empty_table(self, tmp_path: Path) -> None:
        new = note(text("title"), FieldSpec("size", INTEGER, nullable=True), text("color"))
        assert await self.after(tmp_path, NOTE, new) == []

    async def test_fields_and_resources_are_renamed(self, tmp_path: Path) -> None:
        fields = [text("name", renamed_from="title"), FieldSpec("size", INTEGER, nullable=True)]
        memo = schema("Memo", fields, renamed_from="Note")
        assert await self.after(tmp_path, NOTE, memo, {"title": "a"}) == [{"name": "a", "size": None}]

    async def test_what_a_step_loses_is_named_and_done_only_when_told(self, tmp_path: Path) -> None:
        await self.filled(tmp_path, {"title": "12", "size": 1}, {"title": "twelve"})
        new = note(FieldSpec("title", INTEGER, nullable=True), FieldSpec("size", INTEGER, nullable=True))
        await self.refused(tmp_path, new, "1 values of title")
        async with self.opened(tmp_path, catalog(NOTE)) as store:
            (step,) = await store.plan(catalog(new))
            assert (step.loses, step.may_stay) == ("1 values of title", False)
            with pytest.raises(StoreOutdated):
                await store.migrate(catalog(new))
            assert len(await store.migrate(catalog(new), lose=True)) == 1
            made = await store.write(unit(create(new, title=3)))
            assert len((await store.page(listing(new))).keys) == 3
            await store.write(unit(update(new, made.stored[0].key, title=4)))

    @pytest.mark.parametrize(
        "removed",
        [
            FieldSpec("size", INTEGER, nullable=True),
            FieldSpec("size", INTEGER, default=7),
            FieldSpec("size", INTEGER, nullable=True, unique=True, indexed=True),
            FieldSpec("size", INTEGER, default=7, unique=True),
            FieldSpec("size", INTEGER),
        ],
        ids=["null", "default", "unique", "unique default", "needed"],
    )
    async def test_a_field_that_is_not_declared_any_more_stays_in_nobodys_way(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, removed: FieldSpec
    ) -> None:
        old, new = note(text("title"), removed), note(text("title"))
        async with self.opened(tmp_path, catalog(old)) as store:
            await store.write(unit(create(old, title="a", size=1)))
        for title in ("b", "c"):
            async with self.opened(tmp_path, catalog(new)) as store:
                made = (await store.write(unit(create(new, title=title)))).stored[0]
                changed = (await store.write(unit(update(new, made.key, title=f"{title}!")))).stored[0]
                for shown in (made, changed):
                    assert list(plain(shown.json)) == ["id", "title", "version", "created_at", "updated_at"]
                assert await store.migrate(catalog(new)) == []
        assert caplog.text.count("column notes.size is not declared: `crudite db migrate --lose` takes it away") == 1
        store = self.make_store(tmp_path)
        (step,) = await store.plan(catalog(new))
        values = 3 if removed.default == 7 else 1
        assert (step.description, step.loses) == ("notes: remove size", f"{values} values of size")
        assert step.may_stay
        assert await store.migrate(catalog(new), lose=True) == [step]
        assert await store.plan(catalog(new)) == []
        async with self.opened(tmp_path, catalog(new)) as store:
            titles = [plain(record)["title"] for record in (await store.page(listing(new, "title"))).records]
            assert titles == ["a", "b!", "c!"]

    async def test_a_field_that_is_declared_again_has_its_values(self, tmp_path: Path) -> None:
        await self.filled(tmp_path, {"title": "a", "size": 1})
        async with self.opened(tmp_path, catalog(note(text("title")))) as store:
            await store.write(unit(create(note(text("title")), title="b")))
        async with self.opened(tmp_path, catalog(NOTE)) as store:
            records = [plain(record) for record in (await store.page(listing(NOTE, "title"))).records]
        assert [(record["title"], record["size"]) for record in records] == [("a", 1), ("b", None)]

    async def test_values_of_a_group_that_must_be_unique_are_so_no_more_without_one_of_its_fields(
        self, tmp_path: Path
    ) -> None:
        old, new = note(text("title"), text("kind", default="x"), unique=(("title", "kind"),)), note(text("title"))
        async with self.opened(tmp_path, catalog(old)) as store:
            await store.write(unit(create(old, title="a")))
        async with self.opened(tmp_path, catalog(new)) as store:
            await store.write(unit(create(new, title="a"), create(new, title="a")))
            assert len((await store.page(listing(new))).keys) == 3

    async def test_what_a_field_pointed_at_is_held_no_more_when_the_field_is_not_declared(self, tmp_path: Path) -> None:
        shelf = schema("Shelf", [text("name")])
        on_shelf = FieldSpec("shelf", FieldType("uuid"), reference=Reference("Shelf"))
        old, new = note(text("title"), on_shelf), note(text("title"))
        lent = schema("Lent", [on_shelf])
        async with self.opened(tmp_path, catalog(shelf, old, lent)) as store:
            key = (await store.write(unit(create(shelf, name="s")))).stored[0].key
            await store.write(unit(create(old, title="a", shelf=key)))
            await store.write(unit(create(lent, shelf=key)))
        async with self.opened(tmp_path, catalog(shelf, new)) as store:
            await store.write(unit(delete(shelf, key)))
            await store.write(unit(create(new, title="b")))
            assert len((await store.page(listing(new))).keys) == 2

    async def test_servers_of_two_versions_go_on_beside_each_other_where_one_has_removed_a_field(
        self, tmp_path: Path
    ) -> None:
        secret = text("hash", default="", secret=True)
        old = note(
            text("title"), FieldSpec("size", INTEGER, nullable=True), secret, text("seen", default="", quiet=True)
        )
        new, visit = note(text("title")), schema("Visit", [text("page")])
        async with self.opened(tmp_path, catalog(old, visit)) as before:
            first = (await before.write(unit(create(old, title="a", size=1, hash="h")))).stored[0].key
            batches = before.follow((await before.read([])).position)
            async with (
                self.opened(tmp_path, catalog(new)) as after,
                self.opened(tmp_path, catalog(old, visit)) as again,
            ):
                ours = after.follow((await after.read([])).position)
                await after.write(unit(update(new, first, title="b")))
                await before.write(unit(update(old, first, size=2)))
                await again.write(unit(update(old, first, seen="yes")))
                await before.write(unit(create(visit, page="/")))
                made = (await after.write(unit(create(new, title="c")))).stored[0]
                assert "size" not in plain(made.json)
                told = await self.told(batches, 5)
                assert [(change.schema.name, change.kind) for change in told] == [
                    ("Note", "updated"), ("Note", "updated"), ("Note", "updated"), ("Visit", "created"),
                    ("Note", "created"),
                ]  # fmt: skip
                seen = [(i["title"], i["size"], i["seen"]) for c in told if (i := c.after) is not None and "size" in i]
                assert seen == [("b", 1, ""), ("b", 2, ""), ("b", 2, "yes"), ("c", None, "")]
                assert not any("hash" in (change.after or {}) for change in told)
                assert [change.key for change in await self.told(ours, 4)] == [first, first, first, made.key]
                await ours.aclose()  # type: ignore[attr-defined]
            await batches.aclose()  # type: ignore[attr-defined]

    async def told(self, batches: AsyncIterator[Batch], count: int) -> list[Change]:
        """So many changes that a follower is told, without a reset."""
        changes: list[Change] = []
        while len(changes) < count:
            batch = await next_batch(batches)
            assert batch.reset is None
            changes += batch.changes
        return changes

    async def test_a_resource_that_is_not_declared_any_more_keeps_its_records(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        await self.filled(tmp_path, {"title": "a"})
        other = schema("Other", [text("x")])
        for _ in range(2):
            async with self.opened(tmp_path, catalog(other)):
                pass
        assert caplog.text.count("table notes is not declared: `crudite db migrate --lose` takes it away") == 1
        async with self.opened(tmp_path, catalog(other, NOTE)) as store:
            assert len((await store.page(listing(NOTE))).keys) == 1
            (step,) = await store.plan(catalog(other))
            assert (step.description, step.loses) == ("notes: remove the table", "1 records of Note")
            assert await store.migrate(catalog(other), lose=True) == [step]

    @pytest.mark.parametrize(
        ("old", "new", "value", "becomes"),
        [
            (FieldType("integer"), FieldType("bigint"), 7, "7"),
            (FieldType("integer"), FieldType("float"), 7, 7.0),
            (FieldType("integer"), FieldType("decimal", places=2), 7, "7.00"),
            (FieldType("integer"), FieldType("text"), -7, "-7"),
            (FieldType("boolean"), FieldType("text"), True, "true"),
            (FieldType("decimal", places=1), FieldType("decimal", places=3), "-1.5", "-1.500"),
            (FieldType("decimal", places=2), FieldType("text"), "-0.05", "-0.05"),
            (FieldType("float"), FieldType("text"), 0.1, "0.1"),
            (FieldType("text", choices=("a",)), FieldType("text", choices=("a", "b")), "a", "a"),
            (FieldType("text", choices=("a",)), FieldType("text"), "a", "a"),
            (FieldType("text"), FieldType("text", choices=("a", "b")), "a", "a"),
            (FieldType("date"), FieldType("text"), "2026-11-20", "2026-11-20"),
            (FieldType("text"), FieldType("date"), "2026-11-20", "2026-11-20"),
            (FieldType("date"), FieldType("datetime"), "2026-11-20", "2026-11-20T00:00:00.000000Z"),
            (FieldType("text"), FieldType("integer"), "12", 12),
            (FieldType("text"), FieldType("json"), 'a "b"', 'a "b"'),
            (FieldType("integer"), FieldType("json"), 5, 5),
        ],
    )
    async def test_values_that_fit_another_type_are_converted(
        self, tmp_path: Path, old: FieldType, new: FieldType, value: Any, becomes: Any
    ) -> None:
        before, after = note(FieldSpec("x", old, nullable=True)), note(FieldSpec("x", new, nullable=True))
        records = await self.after(tmp_path, before, after, {"x": value}, {"x": None})
        assert records == [{"x": becomes}, {"x": None}]

    async def test_values_that_do_not_fit_another_type_are_a_loss(self, tmp_path: Path) -> None:
        await self.filled(tmp_path, {"title": "12"}, {"title": "twelve"})
        new = note(FieldSpec("title", INTEGER, default=0), FieldSpec("size", INTEGER, nullable=True))
        await self.refused(tmp_path, new, "1 values of title")
        async with self.opened(tmp_path, catalog(NOTE)) as store:
            await store.migrate(catalog(new), lose=True)
            titles = [msgspec.json.decode(r)["title"] for r in (await store.page(listing(new))).records]
            assert sorted(titles) == [0, 12]

    async def test_values_that_cannot_be_converted_are_said_to_be_so_where_nothing_stands_in(
        self, tmp_path: Path
    ) -> None:
        await self.filled(tmp_path, {"title": "12"}, {"title": "abc"})
        new = note(FieldSpec("title", INTEGER), FieldSpec("size", INTEGER, nullable=True))
        blocked = await self.refused(tmp_path, new, "1 values of title cannot become an integer")
        assert blocked.is_blocked

    async def test_null_is_loosened_and_tightened_where_a_default_stands_in(self, tmp_path: Path) -> None:
        new = note(text("title", nullable=True), FieldSpec("size", INTEGER, default=5))
        assert await self.after(tmp_path, NOTE, new, {"title": "a"}) == [{"title": "a", "size": 5}]

    async def test_null_that_nothing_stands_in_for_is_refused(self, tmp_path: Path) -> None:
        await self.filled(tmp_path, {"title": "a"})
        await self.refused(tmp_path, note(text("title"), FieldSpec("size", INTEGER)), "size needs a default")

    async def test_null_is_a_value_of_a_group_in_which_nulls_are_alike(self, tmp_path: Path) -> None:
        group = ("title", "size")
        fields = (text("title"), FieldSpec("size", INTEGER, nullable=True))
        alike = note(*fields, unique=(group,), alike=frozenset((group,)))
        async with self.opened(tmp_path, catalog(note(*fields, unique=(group,)))) as store:
            for _ in range(2):
                await store.write(unit(create(NOTE, title="a")))
        (step,) = await self.make_store(tmp_path).plan(catalog(alike))
        assert step.is_blocked
        assert "title, size occur more than once" in step.description
        async with self.opened(tmp_path, catalog(NOTE)) as store:
            keys = (await store.page(listing(NOTE))).keys
            await store.write(unit(update(NOTE, keys[0], size=0)))
        async with self.opened(tmp_path, catalog(alike)) as store:
            taken = (create(alike, title="a"), create(alike, title="a", size=0), update(alike, keys[0], size=None))
            for write in taken:
                with pytest.raises(Refused) as refused:
                    await store.write(unit(write))
                assert (refused.value.kind, refused.value.fields) == ("unique", group)
            await store.write(unit(create(alike, title="b")))
        async with self.opened(tmp_path, catalog(note(text("title")))) as store:
            for _ in range(2):  # what is not declared any more is in nobody's way
                await store.write(unit(create(note(text("title")), title="b")))

    async def test_a_field_whose_nulls_were_alike_and_that_is_not_declared_any_more_is_in_nobodys_way(
        self, tmp_path: Path
    ) -> None:
        fields, group = (text("title"), FieldSpec("size", INTEGER, nullable=True)), ("size",)
        async with self.opened(tmp_path, catalog(note(*fields, unique=(group,), alike=frozenset((group,))))) as store:
            await store.write(unit(create(NOTE, title="a")))
        async with self.opened(tmp_path, catalog(note(text("title")))) as store:
            for _ in range(2):
                await store.write(unit(create(note(text("title")), title="b")))

    async def test_what_becomes_unique_must_be_so_already(self, tmp_path: Path) -> None:
        await self.filled(tmp_path, {"title": "a"}, {"title": "a"}, {"title": "b"})
        new = note(text("title", unique=True), FieldSpec("size", INTEGER, nullable=True))
        await self.refused(tmp_path, new, "1 values of title occur more than once")

    async def test_references_follow_a_renamed_resource(self, tmp_path: Path) -> None:
        old = schema("Old", [text("x")])
        child = schema("Child", [FieldSpec("of", FieldType("uuid"), reference=Reference("Old"))])
        new = schema("New", [text("x")], renamed_from="Old")
        moved = schema("Child", [FieldSpec("of", FieldType("uuid"), reference=Reference("New"))])
        async with self.opened(tmp_path, catalog(old, child)) as store:
            key = (await store.write(unit(create(old, x="a")))).stored[0].key
            await store.write(unit(create(child, of=key)))
        async with self.opened(tmp_path, catalog(new, moved)) as store:
            assert len((await store.page(listing(new))).keys) == 1
            await store.write(unit(create(moved, of=key)))
            assert len((await store.page(listing(moved))).keys) == 2

    async def test_numbered_keys_go_on_after_a_change_of_schema(self, tmp_path: Path) -> None:
        old = schema("Item", [text("a")], key="integer")
        new = schema("Item", [text("a"), text("b", default="")], key="integer")
        async with self.opened(tmp_path, catalog(old)) as store:
            for _ in range(3):
                last = (await store.write(unit(create(old, a="x")))).stored[0].key
            await store.write(unit(delete(old, last)))
        async with self.opened(tmp_path, catalog(new)) as store:
            assert (await store.write(unit(create(new, a="x")))).stored[0].key == 4

    async def test_a_closed_database_can_be_planned_and_migrated(self, tmp_path: Path) -> None:
        await self.filled(tmp_path, {"title": "a", "size": 1})
        new = note(text("title"))
        store = self.make_store(tmp_path)
        assert [step.loses for step in await store.plan(catalog(new))] == ["1 values of size"]
        await store.migrate(catalog(new), lose=True)
        await store.open(catalog(new), migrate=False)
        assert len((await store.page(listing(new))).keys) == 1
        await store.close()
