"""Somebody's database, by six functions, keeps the promises of the store port, but for those about its own schema."""

from pathlib import Path

import pytest

from crudite.stores.base import Store, SupportsHistory
from crudite.stores.mirrored import Mirrored
from crudite.testing.contracts import StoreContract
from tests.contracts.json_files import JsonFiles

CHANGES_RECORDS = (
    "test_a_search_goes_on_when_the_table_is_made_anew_or_renamed",
    "test_fields_and_resources_are_renamed",
    "test_null_is_loosened_and_tightened_where_a_default_stands_in",
    "test_references_follow_a_renamed_resource",
    "test_servers_of_two_versions_go_on_beside_each_other_where_one_has_removed_a_field",
    "test_values_that_do_not_fit_another_type_are_a_loss",
    "test_values_that_fit_another_type_are_converted",
    "test_what_a_step_loses_is_named_and_done_only_when_told",
)
"""What a migration would do to the records themselves. The mirror is migrated; the database is its owner's."""


@pytest.fixture(autouse=True)
def only_what_can_be_promised(request: pytest.FixtureRequest) -> None:
    """Skips what the store cannot promise, by the capability."""
    if request.node.originalname in CHANGES_RECORDS:
        pytest.skip("the store does not migrate the records of somebody's database")


class TestMirrored(StoreContract):
    """The shipped contract suite, over a database of files; two stores for one place share it, and the mirror."""

    def make_store(self, place: Path) -> Store:
        """A store over JSON files, with its mirror in a file."""
        return Mirrored(JsonFiles(place / "records"), f"sqlite:///{place}/mirror.db?synchronous=NORMAL", timeout=60)


def test_what_is_skipped_are_promises_of_the_contract() -> None:
    assert [name for name in CHANGES_RECORDS if not hasattr(StoreContract, name)] == []


def test_histories_are_among_what_is_promised() -> None:
    assert isinstance(Mirrored(JsonFiles(Path())), SupportsHistory)
