"""A database of nobody's: one JSON file for each record, in a directory for each table."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote


class JsonFiles:
    """The six functions. Records without a key are numbered."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def get(self, table: str, key: Any) -> dict[str, Any] | None:
        file = self._file(table, key)
        return json.loads(file.read_text()) if file.exists() else None

    def find(self, table: str, search: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        for file in (self.directory / table).glob("*.json"):
            record = json.loads(file.read_text())
            if search.items() <= record.items():
                yield record

    def create(self, table: str, record: Mapping[str, Any]) -> Any:
        key = record.get("id") or self._number(table)
        self._write(table, key, {**record, "id": key})
        return key

    def update(self, table: str, key: Any, record: Mapping[str, Any]) -> Any:
        return self._write(table, key, record) if self._file(table, key).exists() else None

    def patch(self, table: str, key: Any, values: Mapping[str, Any]) -> Any:
        there = self.get(table, key)
        return self._write(table, key, {**there, **values}) if there is not None else None

    def destroy(self, table: str, key: Any) -> Any:
        file = self._file(table, key)
        if not file.exists():
            return None
        file.unlink()
        return key

    def _file(self, table: str, key: Any) -> Path:
        return self.directory / table / f"{quote(str(key), safe='')}.json"

    def _write(self, table: str, key: Any, record: Mapping[str, Any]) -> Any:
        file = self._file(table, key)
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(dict(record)))
        fresh.replace(file)
        return key

    def _number(self, table: str) -> int:
        counter = self.directory / f"{table}.count"
        number = int(counter.read_text()) + 1 if counter.exists() else 1
        self.directory.mkdir(parents=True, exist_ok=True)
        counter.write_text(str(number))
        return number
