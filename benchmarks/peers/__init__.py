"""The servers that are compared: one small module each, with an ASGI application called `app`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """One server to measure: its name in tables, its module, and whether that fills its own database."""

    name: str
    module: str
    fills_itself: bool = True


CRUDITE = Peer("crudite", "benchmarks.peers.crudite_items", fills_itself=False)
SQLALCHEMY = Peer("fastapi+sqlalchemy", "benchmarks.peers.fastapi_sqlalchemy")
TUNED = Peer("fastapi+apsw", "benchmarks.peers.fastapi_apsw")
BROADCAST = Peer("fastapi broadcast", "benchmarks.peers.fastapi_broadcast")

PEERS = {peer.name: peer for peer in (CRUDITE, SQLALCHEMY, TUNED, BROADCAST)}
