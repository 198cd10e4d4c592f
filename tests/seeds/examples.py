"""The applications in examples/ that answer as older systems did, as modules."""

import importlib.util
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from crudite.testing import Response
from tests.services.http import client_at

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str, patch: pytest.MonkeyPatch, store: str) -> ModuleType:
    """The application of an example, made anew on a store. It is a module of its own for as long as the test lasts."""
    patch.setenv("CRUDITE_STORE", store)
    made = f"example_of_{name}"
    spec = importlib.util.spec_from_file_location(made, EXAMPLES / name / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    patch.setitem(sys.modules, made, module)
    spec.loader.exec_module(module)
    return module


def shape(response: Response) -> tuple[int, str | None, Any]:
    """Status, type and body of an answer; of an empty one neither."""
    kind = response.headers.get("content-type")
    body = response.json if kind == "application/json" else response.body.decode() or None
    return response.status, kind, body


async def answered(name: str, url: str) -> list[tuple[str, str, str]]:
    """Each `curl` line of an example's README, what it says that comes back, and what does, of a server at a URL. What
    the README leaves out with `…` is left out."""
    text = (EXAMPLES / name / "README.md").read_text()
    found = []
    async with client_at(url) as client:
        for line, expected in re.findall(r"^curl ((?!-N).*?) +# (.*)$", text, re.MULTILINE):
            method, address, body, auth = _read(shlex.split(line))
            headers = {"content-type": "application/json"} if body else {}
            answer = await client.request(method, address, content=body or b"", headers=headers, auth=auth)
            told = f"{answer.status_code} {answer.text}".strip()
            found.append((line, expected, told if "…" not in expected else told[: expected.index("…")] + "…"))
    return found


def _read(arguments: list[str]) -> tuple[str, str, bytes | None, tuple[str, str] | None]:
    """Method, path, body and credentials of a call of curl."""
    method, body, auth, path = "", None, None, ""
    given = iter(arguments)
    for one in given:
        match one:
            case "-X":
                method = next(given)
            case "--json":
                body = next(given).encode()
            case "-u":
                user, _, password = next(given).partition(":")
                auth = (user, password)
            case _:
                path = one.removeprefix("localhost:8000")
    return method or ("GET" if body is None else "POST"), path, body, auth
