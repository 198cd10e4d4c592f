"""Names in URLs and tables follow three rules, and nothing else."""

import pytest

from crudite.resources.declaring.names import path_of, table_of


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("Todo", "todos"), ("LineItem", "line-items"), ("Category", "categories"), ("Box", "boxes"),
        ("Class", "classes"), ("Day", "days"), ("Branch", "branches"), ("Wish", "wishes"),
        ("APIKey", "api-keys"),
        ("HTTPServer", "http-servers"), ("Page2", "page2s"), ("X", "xes"), ("Ally", "allies"),
        ("Quiz", "quizes"),
        ("snake_case", "snake-cases"),
    ],
)  # fmt: skip
def test_a_class_is_called_in_the_plural(name: str, path: str) -> None:
    assert path_of(name) == path
    assert table_of(name) == path.replace("-", "_")
