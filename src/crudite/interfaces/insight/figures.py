"""What is counted, under the names that monitoring knows it by."""

from collections import Counter
from collections.abc import Iterator
from typing import Literal, NamedTuple

from crudite.buses.base import SupportsFigures
from crudite.interfaces.base import Host
from crudite.interfaces.insight.exposition import Family, Sample, number
from crudite.live.limits import Histogram
from crudite.stores.base import SupportsHistory, SupportsLoad


class Figure(NamedTuple):
    """A plain number of the live engine: the attribute of its metrics, and how it is told."""

    attribute: str
    name: str
    kind: Literal["counter", "gauge"]
    help: str


LIVE = (
    Figure("live_connections", "crudite_live_connections", "gauge",
           "Streams and WebSockets; and one for each record that a channel is watched by."),
    Figure("live_subs", "crudite_live_subscriptions", "gauge", "Subscriptions of all connections."),
    Figure("live_groups", "crudite_live_groups", "gauge", "Different live queries; equal ones share a group."),
    Figure("catch_all_groups", "crudite_live_catch_all_groups", "gauge",
           "Groups without an index: every change of their resource is compared with each."),
    Figure("batches", "crudite_live_batches_total", "counter", "Batches read from the change log."),
    Figure("changes", "crudite_live_changes_total", "counter", "Changes that came with them."),
    Figure("candidates", "crudite_live_candidates_total", "counter", "Groups that the index named for changes."),
    Figure("residual_evals", "crudite_live_residual_evals_total", "counter",
           "Conditions evaluated on the image of a change."),
    Figure("match_seconds", "crudite_live_match_seconds_total", "counter",
           "Time for finding the groups of changes and making their frames."),
    Figure("frames", "crudite_live_frames_total", "counter", "Frames encoded, once for all who get them."),
    Figure("frame_bytes", "crudite_live_frame_bytes_total", "counter", "Bytes of them."),
    Figure("deliveries", "crudite_live_deliveries_total", "counter", "Frames handed to a connection."),
    Figure("delivery_seconds", "crudite_live_delivery_seconds_total", "counter",
           "Time for encoding frames and handing them to connections."),
    Figure("snapshots", "crudite_live_snapshots_total", "counter", "Sets read for new subscriptions."),
    Figure("resume_hits", "crudite_live_resumes_total", "counter", "Subscriptions that went on where they left off."),
    Figure("refills", "crudite_live_refills_total", "counter", "Windows read again from the store."),
    Figure("reruns", "crudite_live_reruns_total", "counter", "Live queries run again."),
    Figure("rerun_seconds", "crudite_live_rerun_seconds_total", "counter", "Time for running live queries again."),
    Figure("catch_ups", "crudite_live_catch_ups_total", "counter", "Slow connections told in one go what they missed."),
    Figure("slow_closes", "crudite_live_slow_closes_total", "counter", "Connections closed for reading too slowly."),
    Figure("failures", "crudite_live_failures_total", "counter", "Times that following the change log failed."),
    Figure("log_lag_seconds", "crudite_live_newest_lag_seconds", "gauge",
           "From the newest change to its frames being with the connections."),
)  # fmt: skip


def figures(host: Host) -> Iterator[Family]:
    """All figures of an application, as of now."""
    metrics, admission, tally = host.engine.metrics, host.admission, host.definitions.tally
    for attribute, name, kind, help in LIVE:
        yield Family(name, kind, help, [Sample(getattr(metrics, attribute))])
    yield _distribution(
        "crudite_live_lag_seconds", "From a change to its frames being with the connections.", metrics.lag
    )
    yield _by(
        "crudite_live_resets_total", "counter", "Subscriptions that had to start again.", "reason", metrics.resets
    )
    waiting = sorted(connection.outbox.size for connection in host.engine.connections) or [0]
    yield Family(
        "crudite_live_queue_max_bytes", "gauge", "What waits for the connection that is furthest behind.",
        [Sample(waiting[-1])],
    )  # fmt: skip
    yield Family(
        "crudite_live_queue_p99_bytes", "gauge", "What waits for a connection: 99 of 100 have no more.",
        [Sample(waiting[(len(waiting) - 1) * 99 // 100])],
    )  # fmt: skip
    yield Family(
        "crudite_rule_functions_total", "counter", "Times that functions in rules were asked of a record.",
        [Sample(tally.times)],
    )  # fmt: skip
    yield Family(
        "crudite_rule_failures_total", "counter", "Times that a function in a rule raised, and permitted nothing.",
        [Sample(tally.failures)],
    )  # fmt: skip
    yield from _of_connections(host)
    yield from _of_histories(host)
    yield from _of_bus(host)
    living = Counter({_INTERFACES.get(kind, kind): count for kind, count in admission.living.items()})
    yield _by("crudite_connections", "gauge", "Living connections.", "interface", living)
    yield _by("crudite_connections_refused_total", "counter", "Connections refused.", "reason", admission.refused)
    yield _by("crudite_limits_passed_total", "counter", "Limits that were passed.", "limit", admission.passed)
    yield from _of_rates(host)
    yield from _of_channels(host)


def _of_connections(host: Host) -> Iterator[Family]:
    if isinstance(host.store, SupportsLoad):
        load, name = host.store.load, "crudite_store_connections"
        counts = Counter(idle=load.open - load.used, used=load.used)
        yield _by(name, "gauge", "Connections to the database for requests.", "state", counts)
        yield Family(f"{name}_max", "gauge", "How many of them there may be.", [Sample(load.size)])
        yield Family("crudite_store_waiting", "gauge", "Requests that wait for one.", [Sample(load.waiting)])
        yield Family(f"{name}_opened_total", "counter", "Connections that were opened.", [Sample(load.opened)])
        yield Family(f"{name}_failed_total", "counter", "Connections that could not be.", [Sample(load.failed)])
        yield Family(f"{name}_refused_total", "counter", "Requests that waited in vain.", [Sample(load.refused)])


def _of_histories(host: Host) -> Iterator[Family]:
    if isinstance(host.store, SupportsHistory):
        told, name = host.store.history_figures, "crudite_history"
        yield Family(f"{name}_kept_total", "counter", "Changes that left the log and are kept.", [Sample(told.kept)])
        yield Family(f"{name}_dropped_total", "counter", "Kept changes that were let go.", [Sample(told.dropped)])


def _of_rates(host: Host) -> Iterator[Family]:
    limiter, name = host.limiter, "crudite_rate"
    yield _by(f"{name}_allowed_total", "counter", "Requests that rates allowed.", "rate", limiter.allowed)
    yield _by(f"{name}_refused_total", "counter", "Requests that rates refused.", "rate", limiter.refused)
    yield Family(
        f"{name}_failures_total", "counter", "Times that the counts could not be asked.", [Sample(limiter.failures)]
    )
    yield Family(f"{name}_keys", "gauge", "Keys that are known here.", [Sample(len(limiter.memory))])


def _of_channels(host: Host) -> Iterator[Family]:
    told, name = host.hub.figures, "crudite_channel"
    yield Family(f"{name}_members", "gauge", "Connections in channels; one counts in each.", [Sample(told.members)])
    yield Family(f"{name}_published_total", "counter", "Events that were published here.", [Sample(told.published)])
    yield Family(f"{name}_heard_total", "counter", "Events that others have published.", [Sample(told.heard)])
    yield Family(f"{name}_delivered_total", "counter", "Events handed to a connection.", [Sample(told.delivered)])
    yield Family(
        f"{name}_dropped_total", "counter", "Events that were not, since it takes too little.", [Sample(told.dropped)]
    )


def _of_bus(host: Host) -> Iterator[Family]:
    if isinstance(host.bus, SupportsFigures):
        told, name = host.bus.figures, "crudite_bus"
        yield Family(f"{name}_connected", "gauge", "Whether the bus is connected.", [Sample(int(told.is_connected))])
        yield Family(
            f"{name}_failures_total", "counter", "Times that it was lost or not reached.", [Sample(told.failures)]
        )
        yield Family(f"{name}_sent_total", "counter", "Messages that left for others.", [Sample(told.sent)])
        yield Family(f"{name}_received_total", "counter", "Messages of others.", [Sample(told.received)])
        yield Family(f"{name}_dropped_total", "counter", "Messages that were dropped.", [Sample(told.dropped)])


_INTERFACES = {"http": "sse"}


def _by(name: str, kind: Literal["counter", "gauge"], help: str, label: str, counts: Counter[str]) -> Family:
    return Family(name, kind, help, [Sample(count, ((label, value),)) for value, count in sorted(counts.items())])


def _distribution(name: str, help: str, seen: Histogram) -> Family:
    buckets = [Sample(count, (("le", number(bound)),), "_bucket") for bound, count in seen.cumulative]
    return Family(name, "histogram", help, [*buckets, Sample(seen.sum, (), "_sum"), Sample(seen.count, (), "_count")])
