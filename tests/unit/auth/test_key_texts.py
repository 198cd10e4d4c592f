"""What an API key looks like, and what only looks like one."""

import re
from hashlib import sha256
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crudite.auth.api_keys.texts import new_key, read_key

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def test_a_key_says_the_number_of_its_row_and_the_hash_of_its_secret() -> None:
    made = new_key("crd")
    assert re.fullmatch(r"crd_[0-9A-Za-z]{71}", made.text)
    assert read_key("crd", made.text) == (made.id, made.digest)
    assert new_key("crd", made.id).digest != made.digest
    assert read_key("crd", new_key("crd", made.id).text)[0] == made.id  # type: ignore[index]


def test_its_parts_are_what_the_documentation_says() -> None:
    made = new_key("crd")
    number = 0
    for character in made.text[4:69]:
        number = number * 62 + DIGITS.index(character)
    raw = number.to_bytes(48)
    assert raw[:16].hex() == made.id.replace("-", "")
    assert sha256(raw[16:]).hexdigest() == made.digest
    check = 0
    for character in made.text[69:]:
        check = check * 62 + DIGITS.index(character)
    assert check == crc32(made.text[:69].encode())


@given(place=st.integers(0, 74), character=st.characters())
def test_a_key_with_another_character_is_none(place: int, character: str) -> None:
    text = new_key("crd").text
    if text[place] != character:
        assert read_key("crd", text[:place] + character + text[place + 1 :]) is None


@pytest.mark.parametrize(
    "text", ["", "crd_", "crd_" + "0" * 71, "crd_" + "z" * 71, "crd_é", "crs_" + "0" * 71, "\ud800" * 75]
)
def test_what_only_looks_like_a_key_is_none(text: str) -> None:
    assert read_key("crd", text) is None


def test_a_number_that_is_too_large_is_none() -> None:
    body = "crd_" + "z" * 65
    check, digits = crc32(body.encode()), ""
    for _ in range(6):
        check, value = divmod(check, 62)
        digits = DIGITS[value] + digits
    assert read_key("crd", body + digits) is None


@given(st.text())
def test_any_text_is_a_key_or_none(text: str) -> None:
    assert read_key("crd", text) is None
