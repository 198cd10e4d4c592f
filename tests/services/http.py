"""Clients over real sockets to servers of this machine."""

from typing import Any

import httpx2


def client_at(url: str, **options: Any) -> httpx2.AsyncClient:
    """A client of a server without TLS. It reads no certificates, which would cost 30 ms of work each time."""
    return httpx2.AsyncClient(base_url=url, verify=False, **options)
