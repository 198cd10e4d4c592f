"""Names have one spelling."""

import unicodedata
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crudite.auth.sessions.names import address_spelled, name_spelled

FORMS: tuple[Literal["NFC", "NFD", "NFKC", "NFKD"], ...] = ("NFC", "NFD", "NFKC", "NFKD")


@given(st.text(max_size=20))
def test_the_spelling_of_a_spelling_is_itself(name: str) -> None:
    assert name_spelled(name_spelled(name)) == name_spelled(name)
    assert address_spelled(address_spelled(name)) == address_spelled(name)


@given(st.text(max_size=20))
def test_every_unicode_form_of_a_name_is_spelled_alike(name: str) -> None:
    assert {name_spelled(unicodedata.normalize(form, name)) for form in FORMS} == {name_spelled(name)}
    assert address_spelled(unicodedata.normalize("NFD", name)) == address_spelled(name)


@pytest.mark.parametrize(
    ("written", "spelled"),
    [("Ann", "ann"), ("STRASSE", "strasse"), ("Stra\u00dfe", "strasse"), ("\u03a3\u03c3\u03c2", "\u03c3\u03c3\u03c3"),
     ("\uff21\uff42", "ab"), ("\u212b", "\u00e5")],
)  # fmt: skip
def test_names_that_read_the_same_are_one(written: str, spelled: str) -> None:
    assert name_spelled(written) == spelled


def test_of_an_address_only_the_case_is_alike() -> None:
    assert address_spelled("Ann.STRASSE@Example.org") == "ann.strasse@example.org"
    assert address_spelled("stra\u00dfe@example.org") == "stra\u00dfe@example.org"
