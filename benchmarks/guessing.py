"""Whether the time of a log-in tells who has an account: known and unknown names with wrong passwords, one beside the
other, and how often somebody who sees the times would guess right.

    python -m benchmarks.guessing --pairs 500 [--store postgresql://…]

The real numbers of argon2, the whole way through the application, one process. The exit code is 1 when the times tell.
"""

import argparse
import asyncio
import random
import sys
from collections.abc import Sequence
from math import sqrt
from statistics import median
from time import perf_counter

from crudite import App, Email, Field, Hashing, Password, Rate, Resource, Sessions, allow
from crudite.testing import Client

SLACK = 0.05
"""By how much better than a coin the guess may be: further log-ins are sent away long before that adds up."""
DEVIATIONS = 3.0
OFTEN = Rate("1000000/minute", name="no limit")


class Account(Resource, rules=allow.nobody):
    """Somebody who signs in."""

    email: Email = Field(unique=True)
    password: Password


def advantage(known: Sequence[float], unknown: Sequence[float]) -> float:
    """How much more often than a coin somebody is right who takes the slower one of two log-ins for the known name, or
    the quicker one: 0 for never, 0.5 for always (the Mann-Whitney statistic)."""
    wins = sum((one > other) + (one == other) / 2 for one in known for other in unknown)
    return abs(wins / (len(known) * len(unknown)) - 0.5)


def allowed(pairs: int) -> float:
    """The advantage that so many pairs may show: what is tolerated, and what chance alone makes of none."""
    return SLACK + DEVIATIONS * sqrt((2 * pairs + 1) / (12 * pairs * pairs))


async def measure(pairs: int, store: str, hashing: Hashing) -> tuple[list[float], list[float]]:
    """Seconds that log-ins took under known names and under unknown ones, in turns."""
    sessions = Sessions(Account, hashing=hashing, account_rate=OFTEN, address_rate=OFTEN)
    times: dict[bool, list[float]] = {True: [], False: []}
    async with Client(App(Account, store=store, auth=sessions)) as client:
        await client.app.records.create(Account, email="known@example.org", password="correct horse")
        order = [True, False] * (pairs + 5)
        for number, is_known in enumerate(order):
            name = "known@example.org" if is_known else f"nobody{random.randrange(10**6)}@example.org"
            began = perf_counter()
            answer = await client.post("/log-in", {"email": name, "password": "wrong horse"})
            if answer.status != 401:
                raise RuntimeError(f"a log-in with a wrong password was answered with {answer.status}")
            if number >= 10:
                times[is_known].append(perf_counter() - began)
    return times[True], times[False]


def main() -> int:
    """Measures and says what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guessing", description=__doc__)
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--store", default="sqlite:///:memory:")
    asked = parser.parse_args()
    known, unknown = asyncio.run(measure(asked.pairs, asked.store, Hashing()))
    found, most = advantage(known, unknown), allowed(asked.pairs)
    sys.stdout.write(
        f"known {median(known) * 1000:.2f} ms, unknown {median(unknown) * 1000:.2f} ms (medians of {asked.pairs}); "
        f"a guess is right {50 + 100 * found:.1f}% of the time, {50 + 100 * most:.1f}% are allowed\n"
    )
    return int(found > most)


if __name__ == "__main__":
    sys.exit(main())
