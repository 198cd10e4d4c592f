"""The model test as a command: `python -m tests.model --steps 1000000 --seed 7`.

It tells one story after the other until that many steps have been taken. A broken promise is shrunk, and printed with
its seed and the shortest story that was found; the exit status is then 1.
"""

import argparse
import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Sequence
from random import Random
from time import monotonic

from tests.model.clients import Violation
from tests.model.shrink import shrink
from tests.model.steps import Step, story
from tests.model.story import tell


def main() -> int:
    """Runs the command; its exit status."""
    asked = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    asked.add_argument("--steps", type=int, default=10_000, help="how many random steps to take")
    asked.add_argument("--seed", type=int, default=0, help="of the first story; each further one has the next")
    asked.add_argument("--length", type=int, default=100, help="random steps of one story")
    asked.add_argument("--shrink", type=float, default=60.0, help="seconds for making a failing story shorter")
    given = asked.parse_args()
    logging.disable(logging.CRITICAL)  # faults are asked for, and logged as they should be
    counts: Counter[str] = Counter()
    started = shown = monotonic()
    for number in range(-(-given.steps // given.length)):
        seed = given.seed + number
        steps = story(Random(seed), given.length)
        try:
            counts.update(asyncio.run(tell(steps, seed)))
        except Violation as violation:
            report(seed, steps, violation, given.shrink)
            return 1
        counts["steps"] += given.length
        if monotonic() - shown > 10:
            shown = monotonic()
            print(f"{counts['steps']} steps in {shown - started:.0f} s: {dict(counts)}", flush=True)
    print(f"every promise held, {monotonic() - started:.0f} s: {dict(counts)}")
    return 0


def report(seed: int, steps: Sequence[Step], violation: Violation, seconds: float) -> None:
    """Prints what was broken, and the shortest story that breaks it too."""
    print(f"seed {seed} breaks a promise:\n{violation}\nmaking the story shorter for up to {seconds:.0f} s", flush=True)
    kept, found = shrink(steps, lambda some: void(asyncio.run(tell(some, seed))), seconds)
    print(f"{len(kept)} of {len(steps)} steps are left:")
    for step in kept:
        print(f"    {step!r},")
    print(found or "the story could not be broken again: it depends on what threads did")


def void(_: object) -> None:
    """Whatever it is, nothing."""


if __name__ == "__main__":
    sys.exit(main())
