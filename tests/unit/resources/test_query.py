"""Queries are values: what application code writes is kept until somebody asks."""

import pytest

from crudite.query.parse import WrittenQuery, where
from crudite.query.tree import And
from crudite.resources.query import Count, Query
from crudite.rules import allow
from tests.unit.resources.shop import Task


def test_a_query_gathers_what_is_said_of_it() -> None:
    query = Task.where(status__ne="done").search("red").order("-due", "project__name").limit(20).fields("title", "due")

    assert query == Query(
        Task,
        WrittenQuery(
            filter=where(status__ne="done"),
            search="red",
            sort=("-due", "project.name"),
            limit=20,
            fields=("title", "due"),
        ),
    )


def test_saying_more_leaves_the_first_query_as_it_was() -> None:
    first = Task.where(status="todo")
    second = first.where(due=None).limit(3)

    assert first == Task.where(status="todo")
    assert second.written.filter == And((where(status="todo"), where(due=None)))


def test_without_conditions_a_query_holds_every_record() -> None:
    assert Task.where() == Query(Task)
    assert Task.where().where(status="todo") == Task.where(status="todo")


def test_ready_made_filters_go_with_keywords() -> None:
    mine = allow.where(status="todo") | allow.where(due=None)

    assert Task.where(mine, title="x").written.filter == where((mine,), title="x")


def test_fields_and_omit_replace_each_other() -> None:
    assert Task.where().fields("title").omit("due").written == WrittenQuery(omit=("due",))
    assert Task.where().omit("title").fields("due").written == WrittenQuery(fields=("due",))


def test_a_count_is_of_the_whole_set() -> None:
    counted = Task.where(status="todo").order("-due").limit(3).fields("title").count()

    assert counted == Count(Task.where(status="todo"))


def test_a_limit_is_at_least_one() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Task.where().limit(0)
