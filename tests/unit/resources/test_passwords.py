"""How passwords are hashed: one way for all keyboards, a few at a time, and never so that anything shows."""

import asyncio
import threading

import pytest
from argon2 import PasswordHasher

from crudite import Unavailable
from crudite.resources.writing.passwords import Hashing, stamp_of

QUICK = {"passes": 1, "memory": 8, "lanes": 1}


async def test_every_keyboard_writes_the_same_password() -> None:
    hashing = Hashing(**QUICK)
    stored = await hashing.hash("cafe\u0301 \ufb01ne ok")  # an e with an accent, and a ligature
    assert await hashing.verify(stored, "café fine ok")
    assert not await hashing.verify(stored, "cafe fine ok")


async def test_nobodys_password_is_never_right() -> None:
    hashing = Hashing(**QUICK)
    assert not await hashing.verify(None, "")
    assert not await hashing.verify(None, "correct horse")


async def test_what_is_no_hash_or_no_text_is_not_right() -> None:
    hashing = Hashing(**QUICK)
    assert not await hashing.verify("", "correct horse")
    assert not await hashing.verify("$2b$12$abc", "correct horse")
    assert not await hashing.verify(await hashing.hash("correct horse"), "\ud800 lone")


async def test_more_characters_than_a_password_may_have_are_none() -> None:
    hashing = Hashing(**QUICK)
    stored = PasswordHasher(1, 8, 1).hash("x" * 1025)
    assert not await hashing.verify(stored, "x" * 1025)
    assert await hashing.verify(await hashing.hash("x" * 1024), "x" * 1024)


async def test_a_hash_of_other_numbers_is_made_anew_and_keeps_its_stamp() -> None:
    before, after = Hashing(**QUICK), Hashing(passes=2, memory=16, lanes=1)
    stored = await before.hash("correct horse")
    renewed = await after.renewed(stored, "correct horse")
    assert renewed is not None
    assert renewed.startswith("$argon2id$v=19$m=16,t=2,p=1$")
    assert await after.verify(renewed, "correct horse")
    assert stamp_of(renewed) == stamp_of(stored) != ""
    assert await after.renewed(renewed, "correct horse") is None


async def test_a_password_that_is_set_again_has_another_stamp() -> None:
    hashing = Hashing(**QUICK)
    assert stamp_of(await hashing.hash("correct horse")) != stamp_of(await hashing.hash("correct horse"))
    assert stamp_of(None) == stamp_of("no hash") == ""


async def test_only_so_many_wait_and_nothing_else_is_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    hashing = Hashing(**QUICK, side_by_side=1, waiting=2)
    gate = threading.Event()
    monkeypatch.setattr("crudite.resources.writing.passwords.normalized", lambda plain: gate.wait(10) and plain)
    made = asyncio.create_task(hashing.hash("password 1"))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable) as refused:
        await hashing.hash("password 2")  # new ones take half of the three places
    assert refused.value.headers["retry-after"] == "2"
    tried = [asyncio.create_task(hashing.verify(None, f"password {n}")) for n in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await hashing.verify(None, "one too many")
    tried[1].cancel()  # it has not been begun: its place is free at once
    await asyncio.gather(tried[1], return_exceptions=True)
    tried[1] = asyncio.create_task(hashing.verify(None, "password 4"))
    gate.set()
    assert (await made).startswith("$argon2id$")
    assert await asyncio.gather(*tried) == [False, False]
    assert await hashing.verify(await hashing.hash("correct horse"), "correct horse")
