"""What is promised, checked: at each of its cursors a client holds what the model says, and it never goes back."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.model.clients import Client
from tests.model.held import Held, Shown, Violation
from tests.model.oracle import Asked, State, Who
from tests.model.roles import Roles


@dataclass(frozen=True)
class Observation:
    """What some subscriptions of one connection held at one position."""

    shown: Sequence[Shown]


class Judge:
    """Knows all states that the tables were in. `most` is how many records a live query may hold."""

    def __init__(self, first: State, roles: Roles, most: int) -> None:
        self.states = [first]
        self.counts = Counter[str]()
        self._roles = roles
        self._most = most
        self._observed: list[Observation] = []
        self._first: dict[Held, int] = {}
        self._answers: dict[tuple[Asked, Who, int], Any] = {}

    @property
    def last(self) -> State:
        """The state that the tables are in."""
        return self.states[-1]

    def observe(self, subs: Sequence[Held]) -> None:
        """These subscriptions of one connection stand at one position now."""
        self._observed.append(Observation([sub.copy() for sub in subs]))

    def begins(self, sub: Held, index: int) -> None:
        """A subscription is to know of a state before it shows anything."""
        self._first[sub] = index

    def covers(self, shown: Iterable[Shown]) -> None:
        """These have been told of the last state; what was observed so far may be of one before."""
        self._place_all()
        for one in shown:
            self._first[one.held] = len(self.states) - 1
            self._observed.append(Observation([one]))

    def check(self, clients: Iterable[Client]) -> None:
        """Judges all that was observed since the last time. Raises Violation."""
        self._place_all()
        for client in clients:
            for one in client.too_large:
                self._expect_large(one)
            client.too_large.clear()
            if client.failure is not None:
                raise Violation(f"client {client.number}: {client.failure!r}") from client.failure

    def expect_last(self, client: Client) -> None:
        """All that a client has shows the last state. Raises Violation."""
        for sub in client.subs.values():
            one = sub.copy()
            self._first[sub] = len(self.states) - 1
            if not self._is_answer(one, len(self.states) - 1):
                raise Violation(self._told(one, "has not come to the last state"))

    def is_at_last(self, client: Client) -> bool:
        """Whether all that a client has shows the last state."""
        last = len(self.states) - 1
        return all(sub.is_ready and self._is_answer(sub.copy(), last) for sub in client.subs.values())

    def forget(self, living: Callable[[], Iterable[Held]]) -> None:
        """Only these subscriptions will be asked about."""
        kept = set(living())
        self._first = {sub: index for sub, index in self._first.items() if sub in kept}

    def _place_all(self) -> None:
        observed, self._observed = self._observed, []
        for observation in observed:
            self._place(observation)

    def _place(self, observation: Observation) -> None:
        """Finds the earliest state that all of them can have been at, not before any that they have been at."""
        shown = [one for one in observation.shown if not one.held.is_over]
        if not shown:
            return
        self.counts["positions"] += 1
        self.counts["sets"] += len(shown)
        first = max(self._first.get(one.held, 0) for one in shown)
        for index in range(first, len(self.states)):
            if all(self._is_answer(one, index) for one in shown):
                for one in shown:
                    self._first[one.held] = index
                return
        for one in shown:
            alone = range(self._first.get(one.held, 0), len(self.states))
            if not any(self._is_answer(one, index) for index in alone):
                raise Violation(self._told(one, "holds what is the answer in no state"))
        lines = [self._told(one, "") for one in shown]
        raise Violation("queries of one connection are at different states:\n" + "\n".join(lines))

    def _expect_large(self, one: Shown) -> None:
        first = self._first.get(one.held, 0)
        if one.held.asked.is_value:
            raise Violation(self._told(one, "is a number, and was ended as too large"))
        indexes, whose = range(first, len(self.states)), list(self._roles.possible(*one.who))
        if all(len(self._answer(one.held.asked, who, at)) <= self._most for at in indexes for who in whose):
            raise Violation(self._told(one, f"never holds more than {self._most}, and was ended for it"))

    def _is_answer(self, one: Shown, index: int) -> bool:
        whose = self._roles.possible(*one.who)
        return any(one.equals(self._answer(one.held.asked, who, index)) for who in whose)

    def _answer(self, asked: Asked, who: Who, index: int) -> Any:
        question = (asked, who, index)
        if question not in self._answers:
            if len(self._answers) > 5_000:
                self._answers.clear()
            self._answers[question] = asked.answer(self.states[index], who)
        return self._answers[question]

    def _told(self, one: Shown, what: str) -> str:
        held, who = one.held, one.who[0]
        first, last = self._first.get(held, 0), len(self.states) - 1
        shown = one.value if held.asked.is_value else sorted(one.records.values(), key=lambda row: row["id"])
        then, now = self._answer(held.asked, who, first), self._answer(held.asked, who, last)
        whose = " or ".join(str(one) for one in self._roles.possible(*one.who))
        return (
            f"{held.name} of {whose} {what}: {held.asked}\n  holds {shown!r} {one.order or ''}\n"
            f"  then  {then!r} (state {first})\n  now   {now!r} (state {last})"
        )
