"""The measurements as tables for people, expectations first, and as JSON for programs."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import expected, http_cases
from benchmarks.distinct import Crowd, Matching
from benchmarks.expected import Row
from benchmarks.fanout import Frame, Stream
from benchmarks.http_cases import TITLES, Figure, Sample
from benchmarks.lags import Lag
from benchmarks.peers import CRUDITE
from benchmarks.resuming import Resume

BUSY = 0.10  # a share of a core used by strangers above which figures are marked


@dataclass
class Results:
    """Everything that one run has measured; what was not asked for is empty."""

    http: list[Sample] = field(default_factory=list)
    nested: list[Sample] = field(default_factory=list)
    postgresql: list[Sample] = field(default_factory=list)
    logs: list[Sample] = field(default_factory=list)
    workers: list[Sample] = field(default_factory=list)
    lags: list[Lag] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    matchings: list[Matching] = field(default_factory=list)
    crowds: list[Crowd] = field(default_factory=list)
    resumes: list[Resume] = field(default_factory=list)

    def rows(self) -> list[Row]:
        """Each expectation about something that was measured."""
        return [
            *expected.http(http_cases.figures(self.http)),
            *expected.http(http_cases.figures(self.nested)),
            *expected.http(http_cases.figures(self.postgresql)),
            *expected.logs(http_cases.figures(self.logs)),
            *expected.workers(http_cases.figures(self.workers)),
            *expected.lags(self.lags),
            *expected.frames(self.frames),
            *expected.streams(self.streams),
            *expected.matchings(self.matchings),
            *expected.crowds(self.crowds),
            *expected.resumes(self.resumes),
        ]

    def tables(self) -> Iterable[str]:
        """Expectations first, then what they were made of."""
        if rows := self.rows():
            yield verdicts(rows)
        for asked in (self.http, self.nested):
            if asked:
                yield http(http_cases.figures(asked))
        for compared in (self.postgresql, self.logs, self.workers):
            if compared:
                yield stores(http_cases.figures(compared))
        if self.lags:
            yield lags(self.lags)
        if self.frames:
            yield frames(self.frames)
        if self.streams:
            yield streams(self.streams)
        if self.matchings:
            yield matchings(self.matchings)
        if self.crowds:
            yield crowds(self.crowds)
        if self.resumes:
            yield resumes(self.resumes)

    def write_json(self, file: Path, facts: dict[str, str]) -> None:
        """Every figure; times as their names say, rates per second, null for what is unknown."""
        told = {
            "machine": facts,
            "expected": [plain(each) for each in self.rows()],
            "http": [plain(each) for each in http_cases.figures(self.http)],
            "http_rounds": [plain(each) for each in self.http],
            **{
                name: [plain(each) for each in getattr(self, name)]
                for name in ("frames", "streams", "matchings", "crowds", "resumes", "lags")
            },
            **{
                name: [plain(each) for each in http_cases.figures(getattr(self, name))]
                for name in ("nested", "postgresql", "logs", "workers")
            },
            **{
                f"{name}_rounds": [plain(each) for each in getattr(self, name)]
                for name in ("nested", "postgresql", "logs", "workers")
            },
        }
        file.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def head(facts: dict[str, str]) -> str:
    """The facts about the machine, one a line."""
    return "\n".join(f"{name + ':':<10}{value}" for name, value in facts.items())


def table(rows: list[list[str]]) -> str:
    """Rows of cells under the first as their head; the first two columns to the left, others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    sides = "<<" + ">" * (len(widths) - 2)
    lines = [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def verdicts(rows: Sequence[Row]) -> str:
    words = {True: "yes", False: "NO", None: "?"}
    lines = [["what", "against", "expected", "measured", "holds"]]
    return table(lines + [[row.what, row.against, row.expected, row.measured, words[row.holds]] for row in rows])


def http(figures: Sequence[Figure]) -> str:
    """Crudite's lead over each peer, then what each did."""
    leads = [["request", "against", "Crudite's rate", "peer's CPU a request"]]
    leads += [
        [TITLES.get(each.case, each.case), each.peer, f"{each.lead:.1f} x", f"{each.cpu_lead:.1f} x"]
        for each in figures
        if each.peer != CRUDITE.name and each.lead == each.lead
    ]
    absolute = [["request", "server", "requests/s", "range", "p50 ms", "p99 ms", "CPU µs", "foreign"]]
    absolute += [
        [
            TITLES.get(each.case, each.case), each.peer,
            f"{each.rate:,.0f}", f"{each.rate_low:,.0f} to {each.rate_high:,.0f}",
            f"{each.p50_ms:.2f}", f"{each.p99_ms:.2f}", f"{each.cpu_us:.1f}", foreign(each.foreign),
        ]
        for each in figures
    ]  # fmt: skip
    parts = [table(leads)] if len(leads) > 1 else []
    return "\n\n".join([*parts, table(absolute)])


def stores(figures: Sequence[Figure]) -> str:
    """What each did, with the CPU of the server, of the database and of the load, which share the cores."""
    lines = [["request", "server", "requests/s", "range", "ratio", "p50 ms", "p99 ms", "server µs", "database µs",
              "load µs", "foreign"]]  # fmt: skip
    lines += [
        [
            each.case, each.peer, f"{each.rate:,.0f}", f"{each.rate_low:,.0f} to {each.rate_high:,.0f}",
            f"{1 / each.lead:.2f}", f"{each.p50_ms:.2f}", f"{each.p99_ms:.2f}", f"{each.cpu_us:.1f}",
            f"{each.database_us:.1f}", f"{each.load_us:.1f}", foreign(each.foreign),
        ]
        for each in figures
    ]  # fmt: skip
    return table(lines)


def lags(found: Sequence[Lag]) -> str:
    lines = [["sent until at the client, idle", "", "writes", "p50 ms", "p99 ms", "foreign"]]
    lines += [
        [each.way, "", f"{each.changes:,}", f"{each.p50_ms:.1f}", f"{each.p99_ms:.1f}", foreign(each.foreign)]
        for each in found
    ]
    return table(lines)


def frames(found: Sequence[Frame]) -> str:
    """Medians over the rounds, for each way."""
    lines = [["one change", "subscribers", "last client p50 ms", "p99", "CPU µs a delivery", "idle KB", "foreign"]]
    for way in dict.fromkeys(each.way for each in found):
        some = [each for each in found if each.way == way]
        last, late, cpu, idle, busy = (
            statistics.median(getattr(each, name) for each in some)
            for name in ("last_p50_ms", "last_p99_ms", "cpu_us", "idle_kb", "foreign")
        )
        sent = [f"{last:.1f}", f"{late:.1f}", f"{cpu:.2f}"] if last == last else ["", "", ""]
        lines.append([way, f"{some[0].subscribers:,}", *sent, f"{idle:.1f}", foreign(busy)])
    return table(lines)


def streams(found: Sequence[Stream]) -> str:
    """Medians over the rounds, for each way."""
    lines = [["sixteen writers create", "subscribers", "creates/s", "deliveries/s", "CPU µs each",
              "last client behind, ms", "grown MB", "foreign"]]  # fmt: skip
    for way in dict.fromkeys(each.way for each in found):
        some = [each for each in found if each.way == way]
        rate, cpu, trail, grown, busy = (
            statistics.median(getattr(each, name) for each in some)
            for name in ("rate", "cpu_us", "trail_ms", "grown_mb", "foreign")
        )
        count = some[0].subscribers
        lines.append(
            [way, f"{count:,}", f"{rate / count:,.0f}", f"{rate:,.0f}", f"{cpu:.2f}", f"{trail:.0f}", f"{grown:.1f}",
             foreign(busy)]
        )  # fmt: skip
    return table(lines)


def matchings(found: Sequence[Matching]) -> str:
    lines = [["one change beside", "", "seen p50 ms", "p99", "CPU µs", "matching µs", "under load", "foreign"]]
    lines += [
        [
            f"{each.queries:,} queries", "", f"{each.seen_p50_ms:.2f}", f"{each.seen_p99_ms:.2f}",
            f"{each.cpu_us:.0f}", f"{each.alone_us:.1f}", f"{each.matching_us:.1f}", foreign(each.foreign),
        ]
        for each in found
    ]  # fmt: skip
    return table(lines)


def crowds(found: Sequence[Crowd]) -> str:
    lines = [
        ["queries", "connections", "offered/s", "changes/s", "deliveries/s", "late p50 ms", "p99", "CPU", "foreign"]
    ]
    lines += [
        [
            f"{each.distinct:,} distinct, {each.shared:,} shared", str(each.connections), f"{each.offered:,.0f}",
            f"{each.rate:,.0f}", f"{each.deliveries:,.0f}", f"{each.late_p50_ms:.1f}", f"{each.late_p99_ms:.1f}",
            f"{each.server_cpu:.0%}", foreign(each.foreign),
        ]
        for each in found
    ]  # fmt: skip
    return table(lines)


def resumes(found: Sequence[Resume]) -> str:
    lines = [["after a kill -9", "missed", "s from start", "s from answering", "resumed", "begun anew", "snapshots",
              "CPU µs a client", "foreign"]]  # fmt: skip
    lines += [
        [
            f"{each.clients:,} clients", str(each.missed), f"{each.from_start_s:.2f}", f"{each.from_answering_s:.2f}",
            f"{each.resumed:,}", str(each.reset), "not told" if each.snapshots is None else str(each.snapshots),
            f"{each.cpu_us:.0f}", foreign(each.foreign),
        ]
        for each in found
    ]  # fmt: skip
    return table(lines)


def foreign(share: float) -> str:
    return f"{share:.2f}" + ("!" if share > BUSY else "")


def plain(measured: Row | Figure | Sample | Frame | Stream | Matching | Crowd | Resume | Lag) -> dict[str, object]:
    """Its members, with None for nan, which JSON does not have."""
    return {name: None if value != value else value for name, value in asdict(measured).items()}
