"""Which tokens count as signed: by which keys, and with which algorithms."""

import base64
import json
from hashlib import sha256
from hmac import new as hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwk

from crudite.auth.signatures import BadToken, UnknownKey, opened, peeked, read_keys, read_published_keys
from tests.services.issuer import rsa, signed, unsigned

SECRET = "a secret of 32 bytes, or of more."
CLAIMS = {"sub": "ann"}
RSA = rsa("one")
EC = jwk.ECKey.generate_key("P-256", {"kid": "curve"})
ED = jwk.OKPKey.generate_key("Ed25519", {"kid": "edwards"})
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from(["HS256", "none", "one"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
OCT = jwk.OctKey.import_key(SECRET)


SECRET_KEYS = read_keys(SECRET, None)
RSA_KEYS = read_keys(RSA.as_dict(private=False), None)


def public(key: Any, **more: Any) -> dict[str, Any]:
    return {**key.as_dict(private=False), **more}


def published(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


@pytest.mark.parametrize(
    ("given", "key", "algorithm"),
    [
        (SECRET, OCT, "HS256"),
        (SECRET.encode(), OCT, "HS256"),
        (RSA.as_pem(private=False), RSA, "RS256"),
        (RSA.as_pem(private=False).decode(), RSA, "RS256"),
        (public(EC), EC, "ES256"),
        (ED.as_pem(private=False), ED, "Ed25519"),
        ({"keys": [public(EC), public(RSA)]}, RSA, "RS256"),
        (public(RSA, alg="PS384"), RSA, "PS384"),
    ],
)
def test_a_key_verifies_what_was_signed_with_it(given: Any, key: Any, algorithm: str) -> None:
    assert opened(signed(key, CLAIMS, alg=algorithm), read_keys(given, None)) == CLAIMS


@pytest.mark.parametrize("algorithm", ["RS512", "PS256"])
def test_a_key_is_used_with_one_algorithm_unless_the_application_lists_others(algorithm: str) -> None:
    token = signed(RSA, CLAIMS, alg=algorithm)
    with pytest.raises(BadToken):
        opened(token, read_keys(public(RSA), None))
    assert opened(token, read_keys(public(RSA), [algorithm])) == CLAIMS


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", None, 0, ["RS256"], {"RS256": 1}])
@pytest.mark.parametrize("given", [SECRET, RSA.as_pem(private=False)])
def test_a_token_without_a_signature_is_signed_by_nobody(name: Any, given: Any) -> None:
    with pytest.raises(BadToken):
        opened(unsigned({"alg": name}, CLAIMS), read_keys(given, None))


@pytest.mark.parametrize("text", [RSA.as_pem(private=False), RSA.as_der(private=False), public(RSA)["n"].encode()])
def test_a_public_key_is_no_secret(text: bytes) -> None:
    header = {"alg": "HS256", "kid": "one"}
    body = unsigned(header, CLAIMS).rpartition(".")[0]
    forged = unsigned(header, CLAIMS, hmac(text, body.encode(), sha256).digest())
    for key in (RSA.as_pem(private=False), public(RSA), {"keys": [public(RSA)]}):
        with pytest.raises(BadToken):
            opened(forged, read_keys(key, None))
        with pytest.raises(BadToken):
            opened(forged, read_keys(key, ["RS256", "HS256"]))


def test_a_key_in_the_token_itself_does_not_count() -> None:
    own = rsa("one")
    for header in ({"jwk": public(own)}, {"jku": "https://evil.example/keys"}, {"x5u": "https://evil.example/cert"}):
        with pytest.raises(BadToken):
            opened(signed(own, CLAIMS, **header), read_keys(public(RSA), None))


@pytest.mark.parametrize(
    "token",
    [
        "",
        "..",
        "a.b.c",
        "é.é.é",
        "a.b",
        "a.b.c.d.e",
        unsigned([], CLAIMS),
        unsigned({"alg": "RS256"}, CLAIMS, b"x" * 256),
        signed(RSA, CLAIMS)[:-4] + "AAAA",
        signed(RSA, CLAIMS) + ".",
        signed(RSA, CLAIMS, crit=["exp"], exp=1),
        signed(RSA, CLAIMS, b64=True),
        signed(EC, CLAIMS, alg="ES256", kid="one"),
        "A" * 40_000 + "." + "A" * 40_000 + ".A",
        ("[" * 4000) + ".b.c",
    ],
)
def test_what_is_no_token_of_ours_is_refused(token: str) -> None:
    with pytest.raises(BadToken):
        opened(token, read_keys(public(RSA), None))


@given(st.text())
def test_any_text_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(BadToken):
        opened(text, SECRET_KEYS)
    peeked(text)


@given(st.lists(st.binary(), min_size=3, max_size=3))
def test_any_three_parts_are_refused_and_nothing_else_happens(parts: list[bytes]) -> None:
    text = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
    with pytest.raises(BadToken):
        opened(text, SECRET_KEYS)
    peeked(text)


@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "enc", "jwk"]), JSON),
    st.dictionaries(st.sampled_from(["sub", "exp", "iss", "aud"]), JSON),
)
def test_any_header_and_claims_without_a_signature_are_refused(header: dict[str, Any], claims: dict[str, Any]) -> None:
    for keys in (SECRET_KEYS, RSA_KEYS):
        with pytest.raises(BadToken):
            opened(unsigned(header, claims, b"signature"), keys, None)


def test_claims_are_an_object() -> None:
    for claims in ([], "ann", 7, None):
        with pytest.raises(BadToken):
            opened(signed(RSA, claims), read_keys(public(RSA), None))  # type: ignore[arg-type]


def test_a_token_names_its_key_or_any_may_have_signed_it() -> None:
    keys = read_keys({"keys": [public(rsa("other")), public(RSA)]}, None)
    assert opened(signed(RSA, CLAIMS), keys) == CLAIMS
    nameless = jwk.RSAKey.import_key(RSA.as_pem(private=True))
    assert opened(signed(nameless, CLAIMS), keys) == CLAIMS
    with pytest.raises(UnknownKey):
        opened(signed(RSA, CLAIMS, kid="third"), keys)
    with pytest.raises(BadToken):
        opened(signed(RSA, CLAIMS, kid="other"), keys)
    with pytest.raises(UnknownKey):
        opened(signed(RSA, CLAIMS, kid=["one"]), keys)


def test_a_type_that_is_asked_for_must_be_named() -> None:
    keys = read_keys(public(RSA), None)
    for typ in ("at+jwt", "application/at+jwt", "AT+JWT"):
        assert opened(signed(RSA, CLAIMS, typ=typ), keys, "at+jwt") == CLAIMS
    for header in ({"typ": "JWT"}, {}):
        with pytest.raises(BadToken):
            opened(signed(RSA, CLAIMS, **header), keys, "at+jwt")


@pytest.mark.parametrize(
    ("given", "algorithms", "complaint"),
    [
        ("too short", None, "the secret needs 32 bytes at least, and has 9"),
        (SECRET, ["HS512"], "the secret needs 64 bytes at least"),
        (SECRET, ["none"], "algorithms are some of"),
        (SECRET, "HS256", "algorithms are some of"),
        (SECRET, ["RS256"], "no allowed algorithm goes with a key of the kind oct"),
        (public(RSA), ["HS256"], "no allowed algorithm goes with a key of the kind RSA"),
        (public(RSA, alg="HS256"), None, "no allowed algorithm"),
        (public(RSA, alg="none"), None, "no allowed algorithm"),
        (jwk.OKPKey.generate_key("X25519").as_dict(private=False), None, "no allowed algorithm"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", None, "expected a public key in PEM"),
        ({"kty": "RSA"}, None, "a key cannot be read"),
    ],
)
def test_a_key_that_cannot_be_used_is_told(given: Any, algorithms: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_keys(given, algorithms)


@pytest.mark.filterwarnings("ignore:Key size")  # by the library, when one is made
def test_a_weak_key_is_refused() -> None:
    with pytest.raises(ValueError, match="an RSA key has 2048 to 8192 bits, this one 1024"):
        read_keys(public(rsa(bits=1024)), None)


def test_of_published_keys_those_count_that_can_verify() -> None:
    odd: list[Any] = [
        OCT.as_dict(private=True),
        public(RSA, use="enc"),
        public(RSA, key_ops=["encrypt"]),
        {"kty": "future"},
        {"kty": "RSA", "n": "AQAB"},
        "text",
        public(RSA, alg="RSA-OAEP"),
    ]
    assert [key.name for key in read_published_keys(published(*odd, public(RSA), public(ED)), None)] == [
        "one",
        "edwards",
    ]


def test_a_published_secret_signs_nothing() -> None:
    keys = read_published_keys(published(OCT.as_dict(private=True)), ["HS256"])
    with pytest.raises(BadToken):
        opened(signed(OCT, CLAIMS, alg="HS256"), keys)


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b"{}", b'{"keys": 7}', b'{"keys": "text"}', b"\xff", b'{"keys":' + b"[" * 5000, published(*[{}] * 65)],
)
def test_what_is_no_set_of_keys_is_told(document: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        read_published_keys(document, None)


def test_what_looks_like_a_token_can_be_looked_at_and_nothing_else() -> None:
    assert peeked(signed(RSA, CLAIMS)) == CLAIMS
    for other in ("", "crd_abc", "a.b", "a.b.c", "..", "é.é.é", unsigned({}, [])):
        assert peeked(other) is None
