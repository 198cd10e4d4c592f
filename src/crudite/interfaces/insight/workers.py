"""The figures of several workers behind one port: each leaves its own in a directory, and whoever is asked tells all.

A scrape meets one of them by chance. It must not hang because another one does, and gauges of several processes have no
sum that means anything; so nobody is asked for his figures, and each sample says whose it is.
"""

import asyncio
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from crudite.interfaces.base import Host, Worker
from crudite.interfaces.insight.exposition import Family
from crudite.interfaces.insight.figures import figures

_log = logging.getLogger("crudite.insight")
_SECONDS_BETWEEN = 2.0
_SECONDS_OF_LIFE = 15.0
"""After which the figures of a worker are those of one that is gone."""
_NAME = "figures-"
_decoder = msgspec.json.Decoder(list[Family])


async def keep_posted(host: Host, worker: Worker) -> None:
    """Leaves this worker's figures for the others, now and then, until it is cancelled."""
    place = worker.directory / f"{_NAME}{worker.number}"
    is_known = False
    try:
        while True:
            try:
                _post(place, list(figures(host)))
                is_known = False
            except OSError as error:  # such as a full disk, which may have room again
                if not is_known:
                    _log.warning("the other workers cannot tell the figures of this one: %s", error)
                is_known = True
            await asyncio.sleep(_SECONDS_BETWEEN)
    finally:
        place.unlink(missing_ok=True)


def figures_of_all(host: Host, worker: Worker) -> Iterator[Family]:
    """This worker's figures as of now and those of the others as they were a moment ago, by the label `worker`."""
    known = {str(worker.number): list(figures(host)), **_posted(worker)}
    return _merged(known)


def _post(place: Path, families: Sequence[Family]) -> None:
    made = place.with_name(f".{place.name}")
    made.write_bytes(msgspec.json.encode(families))
    os.replace(made, place)  # noqa: PTH105 (nobody reads half of it)


def _posted(worker: Worker) -> dict[str, list[Family]]:
    found: dict[str, list[Family]] = {}
    for place in sorted(worker.directory.glob(f"{_NAME}*")):
        number = place.name.removeprefix(_NAME)
        try:
            if number != str(worker.number) and time.time() - place.stat().st_mtime < _SECONDS_OF_LIFE:
                found[number] = _decoder.decode(place.read_bytes())
        except (FileNotFoundError, msgspec.DecodeError):  # it has just left; or is of another version, as in a renewal
            continue
    return found


def _merged(known: Mapping[str, Iterable[Family]]) -> Iterator[Family]:
    merged: dict[str, Family] = {}
    for number, families in sorted(known.items()):
        for family in families:
            samples = [one._replace(labels=(*one.labels, ("worker", number))) for one in family.samples]
            before = merged.get(family.name)
            merged[family.name] = family._replace(samples=[*(before.samples if before is not None else ()), *samples])
    return iter(merged.values())
