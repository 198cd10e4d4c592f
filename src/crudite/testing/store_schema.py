"""The store contract: bringing a database from one schema to the next one."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from crudite.errors import StoreOutdated
from crudite.schema import FieldSpec, FieldType, Reference, ResourceSchema
from crudite.testing.samples import catalog, create, delete, listing, schema, text, unit, update
from crudite.testing.store_base import OpensStores

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
        await self.filled(tmp_path, {"title": "a", "size": 1}, {"title": "b"})
        new = note(text("title"))
        await self.refused(tmp_path, new, "1 values of size")
        async with self.opened(tmp_path, catalog(NOTE)) as store:
            (step,) = await store.plan(catalog(new))
            assert step.loses == "1 values of size"
            with pytest.raises(StoreOutdated):
                await store.migrate(catalog(new))
            assert len(await store.migrate(catalog(new), lose=True)) == 1
            made = await store.write(unit(create(new, title="c")))
            assert len((await store.page(listing(new))).keys) == 3
            await store.write(unit(update(new, made.stored[0].key, title="d")))

    async def test_a_removed_resource_loses_its_records(self, tmp_path: Path) -> None:
        await self.filled(tmp_path, {"title": "a"})
        await self.refused(tmp_path, schema("Other", [text("x")]), "1 records of Note")

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
