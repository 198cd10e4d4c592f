"""The measurements as tables for people, ratio first, and as JSON for programs."""

import json
from dataclasses import asdict
from pathlib import Path

from benchmarks.fanout import Delivery
from benchmarks.http_cases import Figure, Sample
from benchmarks.peers import CRUDITE

TITLES = {"read": "read by key", "list": "list of 100", "create": "create"}
BUSY = 0.10  # a share of a core used by strangers above which figures are marked


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


def http(figures: list[Figure]) -> str:
    """Crudite's lead over each peer, then what each did."""
    leads = [["request", "against", "Crudite's rate", "peer's CPU a request"]]
    leads += [
        [TITLES[each.case], each.peer, f"{each.lead:.1f} x", f"{each.cpu_lead:.1f} x"]
        for each in figures
        if each.peer != CRUDITE.name and each.lead == each.lead
    ]
    absolute = [["request", "server", "requests/s", "range", "p50 ms", "p99 ms", "CPU µs", "foreign"]]
    absolute += [
        [
            TITLES[each.case], each.peer,
            f"{each.rate:,.0f}", f"{each.rate_low:,.0f} to {each.rate_high:,.0f}",
            f"{each.p50_ms:.2f}", f"{each.p99_ms:.2f}", f"{each.cpu_us:.1f}", foreign(each.foreign),
        ]
        for each in figures
    ]  # fmt: skip
    parts = [table(leads)] if len(leads) > 1 else []
    return "\n\n".join([*parts, table(absolute)])


def fanout(found: list[Delivery]) -> str:
    """Crudite's lead over a hand-written broadcast, then the figures of each way to subscribe."""
    ours = [each for each in found if each.peer == CRUDITE.name]
    others = [each for each in found if each.peer != CRUDITE.name]
    leads = [["subscribed by", "against", "time to the last", "CPU a delivery", "deliveries/s"]]
    leads += [
        [
            f"{us.peer}, {us.way}", f"{it.peer}, {it.way}", f"{it.write_p50_ms / us.write_p50_ms:.1f} x",
            f"{it.cpu_us / us.cpu_us:.1f} x", f"{us.stream_rate / it.stream_rate:.1f} x",
        ]
        for it in others
        for us in ours
    ]  # fmt: skip
    lone = [["one change", "subscribers", "from the write p50 ms", "p99", "from its answer p50 ms", "p99",
             "CPU µs a delivery", "foreign"]]  # fmt: skip
    lone += [
        [
            f"{each.peer}, {each.way}", str(each.subscribers),
            f"{each.write_p50_ms:.1f}", f"{each.write_p99_ms:.1f}",
            f"{each.commit_p50_ms:.1f}", f"{each.commit_p99_ms:.1f}",
            f"{each.cpu_us:.2f}", foreign(each.foreign),
        ]
        for each in found
    ]  # fmt: skip
    stream = [["creates by four writers", "creates", "deliveries/s", "CPU µs each", "last client behind, ms"]]
    stream += [
        [
            f"{each.peer}, {each.way}", str(each.stream_creates), f"{each.stream_rate:,.0f}",
            f"{each.stream_cpu_us:.2f}", f"{each.trail_ms:.1f}",
        ]
        for each in found
    ]  # fmt: skip
    parts = [table(leads)] if len(leads) > 1 else []
    return "\n\n".join([*parts, table(lone), table(stream)])


def foreign(share: float) -> str:
    return f"{share:.2f}" + ("!" if share > BUSY else "")


def write_json(
    file: Path, facts: dict[str, str], figures: list[Figure], samples: list[Sample], found: list[Delivery]
) -> None:
    """Everything that was measured; times in ms, CPU in µs, rates per second, null for what is unknown."""
    told = {
        "machine": facts,
        "http": [plain(each) for each in figures],
        "http_rounds": [plain(each) for each in samples],
        "fanout": [plain(each) for each in found],
    }
    file.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def plain(measured: Figure | Sample | Delivery) -> dict[str, object]:
    """Its members, with None for nan, which JSON does not have."""
    return {name: None if value != value else value for name, value in asdict(measured).items()}
