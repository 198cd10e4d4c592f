"""The floor below every server in Python: a loop of `send()` over the sockets, with nothing else around it.

WebSocket in its handshake and framing only; one message is framed once. A full socket buffer ends the server.
"""

import base64
import hashlib
import json
import selectors
import socket
import sys

from benchmarks.peers.records import record

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


def accept(key: bytes) -> bytes:
    """The answer to a WebSocket handshake (RFC 6455, 4.2.2)."""
    proof = base64.b64encode(hashlib.sha1(key + GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + proof + b"\r\n\r\n"
    )


def framed(payload: bytes) -> bytes:
    """A text message of 126 to 65,535 bytes as a server sends it (RFC 6455, 5.2)."""
    return b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload


def main() -> None:
    listening = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=2048)
    waiting = selectors.DefaultSelector()
    waiting.register(listening, selectors.EVENT_READ)
    clients: list[socket.socket] = []
    while True:
        for key, _ in waiting.select():
            assert isinstance(key.fileobj, socket.socket)
            if key.fileobj is listening:
                connection, _ = listening.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                waiting.register(connection, selectors.EVENT_READ)
            else:
                serve(key.fileobj, waiting, clients)


def serve(connection: socket.socket, waiting: selectors.BaseSelector, clients: list[socket.socket]) -> None:
    data = connection.recv(65536)
    if data.startswith(b"POST"):
        payload = json.dumps(record(json.loads(data.partition(b"\r\n\r\n")[2]))).encode()
        message = framed(payload)
        for client in clients:
            client.send(message)
        head = b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n" % len(payload)
        connection.sendall(head + payload)
    elif b"Sec-WebSocket-Key: " in data:
        connection.sendall(accept(data.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]))
        connection.setblocking(False)
        clients.append(connection)
    elif data.startswith(b"GET"):
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    elif not data:
        waiting.unregister(connection)
        connection.close()
        if connection in clients:
            clients.remove(connection)


if __name__ == "__main__":
    main()
