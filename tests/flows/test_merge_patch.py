"""An update is a merge patch (RFC 7396), down to the values inside a field, on every store."""

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from crudite import Field, Record, allow
from crudite.testing import Client
from tests.flows.worlds import client_for

EXAMPLES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}), ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}), ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}), ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}), ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]  # fmt: skip
"""Those of appendix A that are objects before and after, as the values of a field are that holds objects."""

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["", "a", "ä"]))
NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=3)


class Note(Record[int], rules=allow.everyone):
    text: str = "x"
    data: dict[str, Any] = Field(default={})


def merged(target: Any, patch: Any) -> Any:
    """The pseudo-code of section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


async def changed(client: Client, key: int, target: Any, patch: Any) -> Any:
    """What a field holds after a patch, as the answer and another read tell."""
    assert (await client.put(f"/notes/{key}", {"text": "kept", "data": target})).status == 200
    answer = await client.patch(f"/notes/{key}", {"data": patch})
    assert answer.status == 200, answer.text
    read = (await client.get(f"/notes/{key}")).json
    assert read == answer.json
    assert read["text"] == "kept"
    return read["data"]


@pytest.mark.parametrize(("target", "patch", "result"), EXAMPLES)
async def test_the_examples_of_the_rfc_hold_inside_a_field(target: Any, patch: Any, result: Any) -> None:
    async with client_for(Note) as client:
        key = (await client.post("/notes", {})).json["id"]
        assert await changed(client, key, target, patch) == result


async def test_any_patch_of_any_object_gives_what_the_rfc_says() -> None:
    stories: list[tuple[Any, Any]] = []

    @settings(
        max_examples=60, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(OBJECTS, OBJECTS)
    def tell(target: Any, patch: Any) -> None:
        stories.append((target, patch))

    tell()
    async with client_for(Note) as client:
        key = (await client.post("/notes", {})).json["id"]
        for target, patch in stories:
            assert await changed(client, key, target, patch) == merged(target, patch), (target, patch)
