"""Figures as text that Prometheus reads: the exposition format, version 0.0.4."""

from collections.abc import Iterable, Sequence
from math import inf
from typing import Literal, NamedTuple

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Sample(NamedTuple):
    """One value: what its name has in addition to the family's, its labels, and the value."""

    value: int | float
    labels: Sequence[tuple[str, str]] = ()
    ending: str = ""


class Family(NamedTuple):
    """All samples of one name, with its kind and one sentence of help."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    samples: Sequence[Sample]


def render(families: Iterable[Family]) -> str:
    """The text of the families, in their order."""
    lines: list[str] = []
    for name, kind, help, samples in families:
        lines += [f"# HELP {name} {_escaped(help)}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{one.ending}{_labels(one.labels)} {number(one.value)}" for one in samples]
    return "".join(f"{line}\n" for line in lines)


def number(value: float) -> str:
    """A number as the format writes it."""
    return "+Inf" if value == inf else repr(value)


def _labels(labels: Sequence[tuple[str, str]]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_quoted(value)}"' for name, value in labels) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
