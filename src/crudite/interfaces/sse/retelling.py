"""The events of a stream, told again in the words of another style: whole records, and no snapshot.

What our own stream says is taken in and held by key. What has come is shown as the style shows it and, where that
depends on all records, all of them are; what differs from what the client knows is told.

    Held ── the last `ready` ──► Told      before it nothing is told: the client asked for what comes
      ▲                            │
      └───────── a `reset` ────────┘       what differs by the next `ready` is told then
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from crudite.errors import TooLarge
from crudite.interfaces.events import encode
from crudite.interfaces.styles import Asked, Shown, Style
from crudite.resources.request import Request
from crudite.types import Key


class Retelling:
    """Tells a client of the records that it may read, in the words of a style. `asker` is the last request for them, by
    which the application decides what is shown."""

    def __init__(self, style: Style, asked: Asked, asker: Callable[[], Request]) -> None:
        words = style.words
        assert words is not None
        self.opening = words.opening
        self._words = words.several if asked.text is None else words.single
        self._key = asked.definition.schema.key
        self._style = style
        self._asked = asked
        self._asker = asker
        self._held: dict[Any, dict[str, Any]] = {}
        self._known: dict[Key, str] = {}
        self._is_complete = False
        self._has_begun = False
        self._left = b""

    async def retell(self, parts: Sequence[bytes]) -> bytes:
        """What the client is told in place of some bytes of our own stream. Raises TooLarge."""
        *blocks, self._left = (self._left + b"".join(parts)).split(b"\n\n")
        told: list[bytes] = []
        touched: dict[Key, None] = {}
        for block in blocks:
            kind, data, other = _read(block)
            told += [other] if other else []
            if kind == "problem":
                told.append(_event("problem", data))
            elif kind:
                self._take(kind, msgspec.json.decode(data), touched)
            if kind == "ready":  # what stands behind it has come since, and is told
                told += await self._differences(touched)
                touched.clear()
        if self._left and not self._left.strip(b":\n"):
            told.append(self._left)
            self._left = b""
        if self._is_complete and touched:
            told += await self._differences(touched)
        return b"".join(told)

    def _take(self, kind: str, data: Any, touched: dict[Key, None]) -> None:
        match kind:
            case "added":
                self._held[data[self._key]] = data
                touched[data[self._key]] = None
            case "changed":
                record = self._held[data["key"]]
                record.update(data["fields"])
                for name in data.get("absent", ()):
                    record.pop(name, None)
                touched[data["key"]] = None
            case "removed":
                self._held.pop(data["key"], None)
                touched[data["key"]] = None
            case "ready":
                self._is_complete = True
                touched.clear()
                touched.update(dict.fromkeys((*self._known, *self._held)))
            case "reset":
                self._held.clear()
                self._is_complete = False

    async def _differences(self, touched: Mapping[Key, None]) -> list[bytes]:
        shown = self._style.retold(self._asked)
        if shown is None:
            now = {key: encode(self._held[key]) for key in touched if key in self._held}
        else:
            now = await self._shown(shown, touched if shown.each_alone else self._held)
            touched = touched if shown.each_alone else {**dict.fromkeys(self._known), **dict.fromkeys(now)}
        told = [one for key in touched if (one := self._difference(key, now.get(key)))] if self._has_begun else []
        for key in touched:
            if key in now:
                self._known[key] = now[key]
            else:
                self._known.pop(key, None)
        self._has_begun = True
        return told

    async def _shown(self, shown: Shown, keys: Iterable[Key]) -> dict[Key, str]:
        """What is shown of the records with some keys, as far as they are there."""
        if not shown.each_alone and len(self._held) > (self._style.most or len(self._held)):
            raise TooLarge(f"A list holds at most {self._style.most} records here, and this one has more.")
        given = [copy.deepcopy(self._held[key]) for key in sorted(key for key in keys if key in self._held)]
        rows = await shown.of(self._asker(), given)
        return {key: encode(row) for key, row in rows.items()}

    def _difference(self, key: Key, now: str | None) -> bytes:
        before = self._known.get(key)
        if before == now:
            return b""
        if now is None:
            return self._said("removed", encode({self._key: key}))
        return self._said("added" if before is None else "changed", now)

    def _said(self, kind: str, data: str) -> bytes:
        word = self._words.get(kind)
        return _event(word, data) if word is not None else b""


Retell: TypeAlias = Callable[[Callable[[], Request]], Retelling]
"""Makes the retelling of a stream, for the last request of whoever asks."""


def _event(kind: str, data: str) -> bytes:
    return f"event: {kind}\ndata: {data}\n\n".encode()


def _read(block: bytes) -> tuple[str, str, bytes]:
    """The kind and the data of a block of our own stream, and what of it is told as it is: comments, and when to come
    back."""
    kind, data, other = "", "", b""
    for line in block.split(b"\n"):
        name, _, value = line.partition(b": ")
        match name:
            case b"event":
                kind = value.decode()
            case b"data":
                data = value.decode()
            case b"retry":
                other += line + b"\n\n"
            case b":":
                other += line + b"\n"
    return kind, data, other
