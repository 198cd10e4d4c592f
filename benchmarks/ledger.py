"""What the store of a soak must hold, and the writers that keep account of it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.clients import Writer


@dataclass
class Ledger:
    """What the store must hold: the title of every record whose write was acknowledged, by key.

    A write that was under way when its server died is in doubt: it happened or not, until it is looked up.
    """

    titles: dict[str, str] = field(default_factory=dict)
    doubted: dict[str, str | None] = field(default_factory=dict)
    doubted_new: set[str] = field(default_factory=set)

    def faults(self, stored: dict[str, str]) -> list[str]:
        """What the store has lost or made up; afterwards nothing is in doubt."""
        found = []
        for key in self.titles.keys() | stored.keys():
            held, is_one = self.titles.get(key), stored.get(key)
            in_doubt = key in self.doubted and self.doubted[key] == is_one
            is_new = held is None and is_one in self.doubted_new
            if held != is_one and not in_doubt and not is_new:
                found.append(f"{key} should have the title {held!r} and has {is_one!r}")
        self.titles = dict(stored)
        self.doubted.clear()
        self.doubted_new.clear()
        return found


@dataclass
class Doing:
    """A write under way: the titles of new records, or one key and its title to be (None when it is deleted)."""

    request: bytes
    created: tuple[str, ...] = ()
    key: str = ""
    title: str | None = None


class SoakWriter(Writer):
    """A writer that keeps the ledger, and outlives its server."""

    def __init__(self, ledger: Ledger, come_back: Callable[["SoakWriter"], None]) -> None:
        super().__init__()
        self.ledger = ledger
        self.come_back = come_back
        self.doing: Doing | None = None

    def start(self, doing: Doing) -> None:
        self.doing = doing
        self.write(doing.request)

    def answered(self, response: bytes) -> None:
        doing, self.doing = self.doing, None
        assert doing
        if doing.created:
            made = json.loads(response.partition(b"\r\n\r\n")[2])
            self.ledger.titles.update((each["id"], each["title"]) for each in made)
        elif doing.title is None:
            del self.ledger.titles[doing.key]
        else:
            self.ledger.titles[doing.key] = doing.title

    def refused(self, response: bytes) -> None:
        # A server that is about to end may refuse; what it had begun is in doubt.
        if not response.startswith(b"HTTP/1.1 503"):
            super().refused(response)
        self.doubt()
        self.is_ready = True

    def lost(self) -> None:
        self.doubt()
        self.is_ready = False
        self.come_back(self)

    def doubt(self) -> None:
        if doing := self.doing:
            self.doing = None
            self.ledger.doubted_new.update(doing.created)
            if doing.key:
                self.ledger.doubted[doing.key] = doing.title
