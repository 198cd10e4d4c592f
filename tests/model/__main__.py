"""The model test as a command: `python -m tests.model --steps 1000000 --seed 7 --store postgresql --processes 2`.

It tells one story after the other until that many steps have been taken. A broken promise is shrunk, and printed with
its seed and the shortest story that was found; the exit status is then 1.
"""

import argparse
import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from random import Random
from time import monotonic

from tests.model.held import Violation
from tests.model.places import on_postgresql, on_sqlite
from tests.model.shrink import shrink
from tests.model.steps import Step, story
from tests.model.telling import Setting, tell
from tests.services.postgresql import serving


def main() -> int:
    """Runs the command; its exit status."""
    asked = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    asked.add_argument("--steps", type=int, default=10_000, help="how many random steps to take")
    asked.add_argument("--seed", type=int, default=0, help="of the first story; each further one has the next")
    asked.add_argument("--length", type=int, default=100, help="random steps of one story")
    asked.add_argument("--shrink", type=float, default=60.0, help="seconds for making a failing story shorter")
    asked.add_argument("--store", default="sqlite", help="sqlite, postgresql, or the URL of a PostgreSQL database")
    asked.add_argument("--processes", type=int, default=1, help="how many applications serve the clients of a story")
    given = asked.parse_args()
    if given.store not in ("sqlite", "postgresql") and not given.store.startswith("postgresql://"):
        asked.error("--store takes `sqlite`, `postgresql`, or a URL that begins with `postgresql://`")
    logging.disable(logging.CRITICAL)  # faults are asked for, and logged as they should be
    with ExitStack() as stack:
        place = on_sqlite
        if given.store != "sqlite":
            place = on_postgresql(stack.enter_context(serving()) if given.store == "postgresql" else given.store)
        return tell_stories(Setting(place, given.processes), given.steps, given.length, given.seed, given.shrink)


def tell_stories(setting: Setting, steps: int, length: int, seed: int, seconds: float) -> int:
    """Tells stories of so many steps together; the exit status."""
    counts: Counter[str] = Counter()
    started = shown = monotonic()
    for number in range(seed, seed + -(-steps // length)):
        told = story(Random(number), length, setting.processes)
        try:
            counts.update(asyncio.run(tell(told, number, setting)))
        except Violation as violation:
            report(setting, number, told, violation, seconds)
            return 1
        counts["steps"] += length
        if monotonic() - shown > 10:
            shown = monotonic()
            print(f"{counts['steps']} steps in {shown - started:.0f} s: {dict(counts)}", flush=True)
    print(f"every promise held, {monotonic() - started:.0f} s: {dict(counts)}")
    return 0


def report(setting: Setting, seed: int, steps: Sequence[Step], violation: Violation, seconds: float) -> None:
    """Prints what was broken, and the shortest story that breaks it too."""
    notes = "\n".join(getattr(violation, "__notes__", ()))
    print(f"seed {seed} breaks a promise:\n{violation}\n{notes}", flush=True)
    print(f"making the story shorter for up to {seconds:.0f} s", flush=True)
    kept, found = shrink(steps, lambda some: void(asyncio.run(tell(some, seed, setting))), seconds)
    print(f"{len(kept)} of {len(steps)} steps are left:")
    for step in kept:
        print(f"    {step!r},")
    print(found or "the story could not be broken again: it depends on what threads did")


def void(_: object) -> None:
    """Whatever it is, nothing."""


if __name__ == "__main__":
    sys.exit(main())
