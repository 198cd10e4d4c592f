"""Rows out of a file: CSV, a JSON array, or JSON Lines, each with the line that it begins at."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from crudite.cli.failures import Failure

_KINDS = {".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "lines", ".ndjson": "lines"}
_DELIMITERS = ",;\t|"
_LONGEST_CELL = 100_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the number of the line it begins at (from 1) and its values by column, texts in CSV and JSON
    values else. A row that cannot be read has a `fault` in place of values."""

    line: int
    values: dict[str, Any] = field(default_factory=dict)
    fault: str = ""


class Source:
    """A file of rows. `columns` are the names in the first line of a CSV file; None for JSON, whose rows
    may differ.

    Raises Failure when there is no such file, or it is of no kind that is known.
    """

    def __init__(self, path: Path, *, encoding: str = "utf-8-sig") -> None:
        self.path = path
        self._encoding = encoding
        if not path.is_file():
            raise Failure(f"there is no file {path}.")
        if path.suffix.lower() not in _KINDS:
            raise Failure(f"{path.name} is none of {', '.join(_KINDS)}.", "The end of its name says what is in it.")
        self._kind = _KINDS[path.suffix.lower()]
        self.size = path.stat().st_size
        self.columns = self._read_header() if self.is_text else None

    @property
    def is_text(self) -> bool:
        """Whether every value is a text, to be read by the type of its field."""
        return self._kind == "csv"

    def rows(self, progress: Callable[[int], None] = lambda _: None) -> Iterator[Row]:
        """The rows from the beginning; `progress` is told now and then how many bytes have been read."""
        with self.path.open("rb") as file:
            try:
                yield from {"csv": self._csv, "json": self._json, "lines": self._lines}[self._kind](file, progress)
            except UnicodeDecodeError as error:
                raise Failure(f"{self.path.name} is not in {error.encoding}.", _ENCODINGS) from error
            except csv.Error as error:
                raise Failure(f"{self.path.name} is no CSV: {error}.") from error
        progress(self.size)

    def _read_header(self) -> list[str]:
        csv.field_size_limit(_LONGEST_CELL)
        try:
            with self.path.open(encoding=self._encoding, newline="") as file:
                sample = file.readline()
                self._delimiter = max(_DELIMITERS, key=sample.count)
                file.seek(0)
                names = [name.strip() for name in next(csv.reader(file, delimiter=self._delimiter), [])]
        except (UnicodeDecodeError, LookupError) as error:
            raise Failure(f"{self.path.name} is not in {self._encoding}.", _ENCODINGS) from error
        if not any(names):
            raise Failure(f"{self.path.name} is empty: its first line names the columns.")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise Failure(f"{self.path.name} has several columns called {', '.join(twice)}.")
        return names

    def _csv(self, file: BinaryIO, progress: Callable[[int], None]) -> Iterator[Row]:
        assert self.columns is not None
        lines = _decoded(file, self._encoding, progress)
        reader = csv.reader(lines, delimiter=self._delimiter)
        next(reader)
        names, line = self.columns, reader.line_num + 1
        for cells in reader:
            if len(cells) == len(names):
                yield Row(line, dict(zip(names, cells, strict=True)))
            elif cells:
                yield Row(line, fault=f"it has {len(cells)} cells, and the header {len(names)}")
            line = reader.line_num + 1

    def _lines(self, file: BinaryIO, progress: Callable[[int], None]) -> Iterator[Row]:
        for number, text in enumerate(file, 1):
            if text.strip():
                yield _object(number, text)
            if number % 100 == 0:
                progress(file.tell())

    def _json(self, file: BinaryIO, progress: Callable[[int], None]) -> Iterator[Row]:
        text = file.read().removeprefix(b"\xef\xbb\xbf")
        try:
            parts = msgspec.json.decode(text, type=list[msgspec.Raw])
        except (msgspec.DecodeError, RecursionError) as error:
            raise Failure(f"{self.path.name} is no JSON array: {error}.") from error
        line, place = 1, 0
        for index, part in enumerate(map(bytes, parts)):
            start = text.index(part, place)
            line += text.count(b"\n", place, start)
            yield _object(line, part)
            line += part.count(b"\n")
            place = start + len(part)
            if index % 100 == 0:
                progress(place)


_ENCODINGS = "Say which encoding it is in, such as --encoding latin-1 or --encoding utf-16."


def _decoded(file: BinaryIO, encoding: str, progress: Callable[[int], None]) -> Iterator[str]:
    """The lines of a file with their ends, decoded."""
    with io.TextIOWrapper(file, encoding=encoding, newline="") as text:
        for number, line in enumerate(text):
            yield line
            if number % 100 == 0:
                progress(file.tell())


def _object(line: int, text: bytes) -> Row:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Row(line, fault=f"it is no JSON: {error}")
    if not isinstance(value, dict):
        return Row(line, fault="it is no JSON object")
    return Row(line, value)


def snake_case(name: str) -> str:
    """A column's name as a field would be called: `Scheduled Time` and `scheduledTime` are
    `scheduled_time`."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"\W+|_+", "_", parted).strip("_").lower()
