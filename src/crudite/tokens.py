"""Opaque tokens: what a client carries for us and can neither read nor make up."""

import base64
import hashlib
import hmac

_TAG = 16


class Sealer:
    """Seals short texts of bytes under one secret.

    Synthetic initialisation vector (the idea of RFC 5297, with keyed BLAKE2 for both halves): the tag over the
    content is also the nonce of its key stream, so equal contents give equal tokens, which may be shared by
    many connections, and nothing but equality shows. A cipher library would be a dependency for 40 bytes.
    """

    def __init__(self, secret: bytes) -> None:
        self._tag_key = hashlib.blake2b(b"tag", key=secret[:64]).digest()
        self._stream_key = hashlib.blake2b(b"stream", key=secret[:64]).digest()

    def seal(self, content: bytes) -> str:
        """The token for some bytes: URL-safe text."""
        tag = self._tag(content)
        return base64.urlsafe_b64encode(tag + self._mix(content, tag)).rstrip(b"=").decode()

    def open(self, token: str) -> bytes | None:
        """The bytes in a token; None when it was not made with this secret."""
        try:
            raw = base64.urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        except ValueError:
            return None
        content = self._mix(raw[_TAG:], raw[:_TAG])
        return content if hmac.compare_digest(raw[:_TAG], self._tag(content)) else None

    def digest(self, text: str) -> str:
        """A short keyed hash of a text: equal for equal texts, and telling nothing about them."""
        return hashlib.blake2b(text.encode(), key=self._tag_key, digest_size=12).hexdigest()

    def _tag(self, content: bytes) -> bytes:
        return hashlib.blake2b(content, key=self._tag_key, digest_size=_TAG).digest()

    def _mix(self, content: bytes, tag: bytes) -> bytes:
        blocks = range(-(-len(content) // 64))
        stream = b"".join([hashlib.blake2b(tag + block.to_bytes(4), key=self._stream_key).digest() for block in blocks])
        mixed = int.from_bytes(content) ^ int.from_bytes(stream[: len(content)])
        return mixed.to_bytes(len(content))
