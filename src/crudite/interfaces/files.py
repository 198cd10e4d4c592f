"""Static files of an application's own pages, under a strict content security policy."""

import asyncio
import hashlib
import mimetypes
from pathlib import Path

from crudite.interfaces.base import Scope, Send
from crudite.interfaces.http import read_headers, send_response
from crudite.interfaces.pages import PAGE_HEADERS


class Files:
    """A directory whose files are served as they are."""

    def __init__(self, directory: Path) -> None:
        self._root = directory.resolve()

    @property
    def root(self) -> Path:
        """The directory, without links."""
        return self._root

    async def serve(self, prefix: str, path: str, scope: Scope, send: Send) -> bool:
        """Answers with the file at a path, if there is one below the directory; whether it did."""
        if prefix and path != prefix and not path.startswith(f"{prefix}/"):
            return False
        found = await asyncio.to_thread(self._read, path.removeprefix(prefix).lstrip("/"))
        if found is None:
            return False
        name, content = found
        await send_file(scope, send, name, content)
        return True

    def _read(self, path: str) -> tuple[str, bytes] | None:
        try:
            file = (self._root / path).resolve()
            if file.is_dir():
                file /= "index.html"
            if not file.is_relative_to(self._root) or not file.is_file():
                return None
            return file.name, file.read_bytes()
        except (OSError, ValueError):
            return None


async def send_file(scope: Scope, send: Send, name: str, content: bytes) -> None:
    """Answers with a file's content, or that it has not changed (RFC 9110, section 13.1.2)."""
    etag = f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    if kind.startswith("text/") or kind in ("application/javascript", "application/json"):
        kind += "; charset=utf-8"
    headers = [
        (b"content-type", kind.encode()),
        (b"etag", etag.encode()),
        (b"cache-control", b"no-cache"),
        *PAGE_HEADERS,
    ]
    if read_headers(scope).get("if-none-match") == etag:
        return await send_response(send, 304, headers[1:])
    await send_response(send, 200, headers, content, with_body=scope["method"] != "HEAD")
