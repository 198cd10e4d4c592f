"""Functions in rules: asked of one record as hooks see it, on behalf of one actor; counted; and told when they fail."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from crudite.messages import Actor
from crudite.query.tree import Check, Filter, Judged
from crudite.types import PlainRecord

_log = logging.getLogger("crudite")
_PAUSE = 60.0


@dataclass(slots=True)
class Tally:
    """How often functions in rules were asked of a record since the start, and how often they could not tell."""

    times: int = 0
    failures: int = 0
    _told: dict[Any, float] = field(default_factory=dict, repr=False)

    def failed(self, check: Check) -> None:
        """Counts the failure that is being handled, and logs it: of one function once in a minute."""
        self.failures += 1
        now = time.monotonic()
        if now - self._told.get(id(check.test), -_PAUSE) >= _PAUSE:
            self._told[id(check.test)] = now
            _log.exception("%s could not tell, so it permits nothing", check.name)


class ActorsJudge:
    """Asks one function of plain records on behalf of one actor. True and False are its answers; None where it raised,
    or gave another one."""

    def __init__(self, check: Check, actor: Actor, from_plain: Callable[[PlainRecord], Any], tally: Tally) -> None:
        self._check = check
        self._actor = actor
        self._from_plain = from_plain
        self._tally = tally

    def __call__(self, record: PlainRecord) -> bool | None:
        self._tally.times += 1
        try:
            answer = self._check.test(self._from_plain(record), self._actor)
            if answer is not True and answer is not False:
                raise TypeError(f"{self._check.name} returned {answer!r}, which is neither True nor False")
        except Exception:
            self._tally.failed(self._check)
            return None
        return answer


def judging(actor: Actor, from_plain: Callable[[PlainRecord], Any], tally: Tally) -> Callable[[Check], Filter]:
    """What stands for the functions of one rule when it is folded for an actor."""
    judges: dict[int, ActorsJudge] = {}

    def judged(check: Check) -> Filter:
        judge = judges.setdefault(id(check.test), ActorsJudge(check, actor, from_plain, tally))
        return Judged(judge, check.negated)

    return judged
