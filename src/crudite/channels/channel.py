"""How an application declares its channels, and what is wrong with a declaration."""

import re
from collections.abc import Mapping
from typing import Any

from crudite.query.tree import Filter

_SEGMENT = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}|\{[a-z][a-z0-9_]{0,39}\}")
_RULES = ("join", "publish")


class Channel:
    """Channels of one kind: `Channel("rooms/{room}", of=Room, rules={"publish": allow.everyone})`.

    `pattern` is the name, in words with slashes between them; `{room}` stands for one word of any text. With `of` that
    is the key of a record: then whoever may read the record may join, for as long as that is so, and rules may speak of
    the record. Without `of`, rules speak of nothing but who asks.

    `rules` says who may `join`, beside that, and who of those that may join may `publish`. Where nothing is said nobody
    may publish, and without `of` nobody joins. `presence`: those who have joined over a WebSocket are shown to each
    other, by the `id` of their actor and the state that each gives of itself.

    With `of` and a pattern without a parameter the channel tells what the server emits of records of that resource
    (`app.emit(Post, "featured", post)`), to each who may read the record; clients publish nothing there.
    """

    def __init__(
        self, pattern: str, *, of: type[Any] | None = None, rules: Mapping[str, Filter] | None = None,
        presence: bool = False,
    ) -> None:  # fmt: skip
        self.pattern = pattern
        self.of = of
        self.rules = dict(rules or {})
        self.presence = presence

    @property
    def segments(self) -> tuple[str, ...]:
        """The words of the pattern."""
        return tuple(self.pattern.split("/"))

    @property
    def parameters(self) -> tuple[str, ...]:
        """Those of them that stand for others."""
        return tuple(segment for segment in self.segments if segment.startswith("{"))

    @property
    def is_feed(self) -> bool:
        """Whether it tells of the records of a resource."""
        return self.of is not None and not self.parameters

    def faults(self) -> list[str]:
        """What is wrong with the declaration by itself, one sentence each."""
        place, faults = f"The channel {self.pattern!r}", []
        if not all(_SEGMENT.fullmatch(segment) for segment in self.segments):
            faults.append(f"{place} is not written in words of a-z, 0-9, _ and -, or {{names}}, with / between them.")
        if self.of is not None and len(self.parameters) > 1:
            faults.append(f"{place} is of {self.of.__name__}, so it takes one parameter, its key.")
        for name, rule in self.rules.items():
            if name not in _RULES:
                faults.append(f"{place}: rules have no {name!r}; there are join and publish.")
            elif not isinstance(rule, Filter):
                faults.append(f"{place}: rules[{name!r}] is no rule: use allow.everyone, allow.where(…) and the like.")
        if self.is_feed and ("publish" in self.rules or self.presence):
            faults.append(f"{place} tells what the server emits of records: nobody publishes there, or is shown.")
        return faults

    def __repr__(self) -> str:
        return f"Channel({self.pattern!r})"
