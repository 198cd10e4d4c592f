"""Whether a token was signed with a key (RFC 7515, RFC 7517): the only module that knows the library for signatures.

Which algorithms a key may be used with is settled when the key is read, and never by the token: exactly one by its
type, unless the key itself names one (`alg`) or the application lists some. So there is no `none`, and no public key
ever serves as a secret (RFC 8725, sections 3.1 and 3.2).
"""

import logging
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
from joserfc import jwk, jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.util import urlsafe_b64decode

LONGEST_TOKEN = 16_384
"""The most characters of a token that is looked at."""
MOST_KEYS = 64
"""The most keys of one set that are read."""

_BY_TYPE: Mapping[str, tuple[str, ...]] = {
    "oct": ("HS256", "HS384", "HS512"),
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "P-256": ("ES256",),
    "P-384": ("ES384",),
    "P-521": ("ES512",),
    "secp256k1": ("ES256K",),
    "Ed25519": ("EdDSA", "Ed25519"),
    "Ed448": ("EdDSA", "Ed448"),
}
_ONE_NAME = frozenset(("Ed25519", "Ed448"))  # RFC 9864 gives the same algorithm a second name
_SHORTEST_SECRET = {"HS256": 32, "HS384": 48, "HS512": 64}  # bytes (RFC 7518, section 3.2)
_RSA_BITS = range(2048, 8193)

_registry = jws.JWSRegistry(strict_check_header=False)
_registry.max_header_length = 4096
_registry.max_payload_length = LONGEST_TOKEN
_log = logging.getLogger("crudite")


class BadToken(Exception):
    """A token that no key of ours signed, or that is none. Its text is for the log, not for whoever shows it."""


class UnknownKey(BadToken):
    """A token that names a key that is not there."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """One key, its name (`kid`) if it has one, and the algorithms that it verifies."""

    name: str | None
    key: Any
    algorithms: frozenset[str]


def read_keys(given: str | bytes | Mapping[str, Any], algorithms: Collection[str] | None) -> Sequence[VerifyingKey]:
    """The keys in what an application gives: a secret, a public key or a certificate (PEM), a JWK, or a set of those.

    `algorithms` are those that may be used; None takes one for each key. Raises ValueError, saying why, when one of
    the keys cannot be used.
    """
    _check_names(algorithms)
    if isinstance(given, Mapping):
        members = given.get("keys", [given])
        return [_usable(_imported(dict(one)), one, algorithms) for one in members]
    raw = given.encode() if isinstance(given, str) else given
    key = _from_pem(raw) if b"-----BEGIN " in raw else _imported(raw, jwk.OctKey.import_key)
    return [_usable(key, {}, algorithms)]


def read_published_keys(document: bytes, algorithms: Collection[str] | None) -> Sequence[VerifyingKey]:
    """The keys of a set that an issuer publishes (RFC 7517, section 5), as far as they are of use here.

    A secret is of none: what is published is known to everybody. Raises ValueError when the document is no such set,
    or holds more than `MOST_KEYS`.
    """
    _check_names(algorithms)
    members = msgspec.json.decode(document, type=dict[str, Any]).get("keys")
    if not isinstance(members, list):
        raise ValueError("it is no set of keys")
    if len(members) > MOST_KEYS:
        raise ValueError(f"it holds {len(members)} keys, and at most {MOST_KEYS} are read")
    usable = []
    for one in members:
        try:
            if not isinstance(one, dict) or one.get("kty") == "oct":
                raise ValueError("it is no public key")
            if one.get("use", "sig") != "sig" or "verify" not in one.get("key_ops", ["verify"]):
                continue
            usable.append(_usable(_imported(one), one, algorithms))
        except ValueError as error:
            _log.debug("a published key is not used: %s", error)
    return usable


def opened(token: str, keys: Iterable[VerifyingKey], typ: str | None = None) -> dict[str, Any]:
    """The claims of a token that one of the keys signed; nothing in them has been checked.

    `typ` is the type that its header must name (RFC 8725, section 3.11), None for any. Raises UnknownKey, and
    BadToken for all else.
    """
    try:
        given = jws.extract_compact(token.encode("ascii"), registry=_registry)
        header = given.headers()
    except (JoseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BadToken("it cannot be read") from error
    if "crit" in header or "b64" in header:
        raise BadToken("it asks for an extension that is not known here")
    if typ is not None and _media_type(header.get("typ")) != _media_type(typ):
        raise BadToken(f"it is not of the type {typ}")
    candidates = list(_candidates(header.get("kid"), keys))
    if not candidates:
        raise UnknownKey("it names a key that is not there")
    name = header.get("alg")
    if not any(isinstance(name, str) and name in key.algorithms and _is_signed(given, name, key) for key in candidates):
        raise BadToken("it was not signed with a key of ours")
    try:
        return msgspec.json.decode(given.payload, type=dict[str, Any])
    except (ValueError, RecursionError) as error:
        raise BadToken("its claims cannot be read") from error


def peeked(token: str) -> dict[str, Any] | None:
    """The claims of what looks like a signed token, as far as nobody relies on them; None for anything else."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        return msgspec.json.decode(urlsafe_b64decode(parts[1].encode("ascii")), type=dict[str, Any])
    except (ValueError, TypeError, RecursionError):
        return None


def _candidates(name: Any, keys: Iterable[VerifyingKey]) -> Iterable[VerifyingKey]:
    """The keys that a token may mean: that of the name; any, if the token or the key has none."""
    return (key for key in keys if name is None or key.name is None or key.name == name)


def _is_signed(given: jws.CompactSignature, algorithm: str, key: VerifyingKey) -> bool:
    signed = given.segments["header"] + b"." + given.segments["payload"]
    try:
        signature = urlsafe_b64decode(given.segments["signature"])
        return bool(jws.JWSRegistry.algorithms[algorithm].verify(signed, signature, key.key))
    except (JoseError, ValueError, TypeError):
        return False


def _imported(given: Any, read: Callable[[Any], Any] = jwk.import_key) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # a weak key is refused below, not only warned of
            return read(given)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"a key cannot be read: {error}") from error


def _from_pem(raw: bytes) -> Any:
    for kind in (jwk.RSAKey, jwk.ECKey, jwk.OKPKey):
        with suppress(ValueError):
            return _imported(raw, kind.import_key)
    raise ValueError("expected a public key in PEM of the kind RSA, EC or Ed25519")


def _usable(key: Any, member: Mapping[str, Any], allowed: Collection[str] | None) -> VerifyingKey:
    """A key with its algorithms. Raises ValueError when none is left, or the key is too weak."""
    fitting = _BY_TYPE.get(key.key_type) or _BY_TYPE.get(getattr(key, "curve_name", ""), ())
    own = member.get("alg")
    if own is not None:
        fitting = tuple(one for one in fitting if one == own)
    elif allowed is None:
        fitting = tuple(one for one in fitting if one == fitting[0] or one in _ONE_NAME)
    algorithms = frozenset(one for one in fitting if allowed is None or one in allowed)
    if not algorithms:
        raise ValueError(f"no allowed algorithm goes with a key of the kind {key.key_type}")
    if key.key_type == "RSA" and key.raw_value.key_size not in _RSA_BITS:
        raise ValueError(f"an RSA key has 2048 to 8192 bits, this one {key.raw_value.key_size}")
    if key.key_type == "oct":
        needed = max(_SHORTEST_SECRET[one] for one in algorithms)
        if len(key.raw_value) < needed:
            raise ValueError(f"the secret needs {needed} bytes at least, and has {len(key.raw_value)}")
    name = member.get("kid")
    return VerifyingKey(name if isinstance(name, str) else None, key, algorithms)


def _check_names(algorithms: Collection[str] | None) -> None:
    known = {one for group in _BY_TYPE.values() for one in group}
    unknown = [one for one in algorithms or () if one not in known]
    if isinstance(algorithms, str) or unknown:
        raise ValueError(f"algorithms are some of {', '.join(sorted(known))}; got {algorithms!r}")


def _media_type(given: Any) -> str | None:
    """The type in a header, which may leave `application/` out (RFC 7515, section 4.1.9)."""
    return given.lower().removeprefix("application/") if isinstance(given, str) else None
