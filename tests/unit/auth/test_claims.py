"""What the claims of a token must say, and who somebody is by them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crudite import Actor, Unauthorized
from crudite.auth.claims import Expected, Reading

NOW = datetime(2030, 1, 1, tzinfo=UTC)
AT = int(NOW.timestamp())
OURS = Expected(frozenset({"https://a", "https://b"}), frozenset({"board"}), frozenset({"exp"}), timedelta(seconds=10))


def said(**claims: Any) -> dict[str, Any]:
    given = {"iss": "https://a", "aud": "board", "exp": AT + 60, **claims}
    return {name: value for name, value in given.items() if value is not None}


@pytest.mark.parametrize(
    "claims",
    [
        said(),
        said(iss="https://b"),
        said(aud=["other", "board"]),
        said(nbf=AT, iat=AT),
        said(nbf=AT + 10, iat=AT + 10),
        said(exp=AT - 9),
        said(exp=AT + 0.5),
        said(exp=10**400),
        said(exp=float("inf")),
        said(exp=1e300),
    ],
)
def test_claims_that_say_what_is_expected_hold(claims: dict[str, Any]) -> None:
    assert OURS.check(claims, NOW) is not None


@pytest.mark.parametrize(
    "claims",
    [
        said(iss=None),
        said(iss="https://evil.example"),
        said(iss="https://a/"),
        said(iss=["https://a"]),
        said(iss={"https://a": 1}),
        said(aud=None),
        said(aud="other"),
        said(aud="board other"),
        said(aud=[]),
        said(aud=[["board"]]),
        said(aud={"board": 1}),
        said(exp=None),
        said(exp=AT - 10),
        said(exp="tomorrow"),
        said(exp=str(AT + 60)),
        said(exp=True),
        said(exp=float("nan")),
        said(exp=-1),
        said(exp=float("-inf")),
        said(nbf=AT + 11),
        said(iat=AT + 11),
        said(nbf="now"),
        said(nbf=[AT]),
    ],
)
def test_claims_that_say_anything_else_do_not(claims: dict[str, Any]) -> None:
    with pytest.raises(Unauthorized) as refusal:
        OURS.check(claims, NOW)
    assert refusal.value.headers == {"www-authenticate": 'Bearer error="invalid_token"'}


def test_the_moment_at_which_they_end_has_the_leeway_in_it() -> None:
    assert OURS.check(said(), NOW) == NOW + timedelta(seconds=70)
    assert Expected().check({"sub": "ann"}, NOW) is None


def test_who_expects_no_audience_takes_no_token_that_is_meant_for_somebody() -> None:
    Expected().check({}, NOW)
    with pytest.raises(Unauthorized):
        Expected().check({"aud": "other"}, NOW)
    Expected(audiences=None).check({"aud": "other"}, NOW)


def test_a_required_claim_is_there() -> None:
    for claims in ({}, {"jti": None}):
        with pytest.raises(Unauthorized):
            Expected(required=frozenset({"jti"})).check(claims, NOW)


@pytest.mark.parametrize(
    ("path", "claims", "roles"),
    [
        ("roles", {"roles": ["staff", "admin"]}, {"staff", "admin"}),
        ("roles", {"roles": "staff admin"}, {"staff", "admin"}),
        ("https://example.org/roles", {"https://example.org/roles": ["staff"]}, {"staff"}),
        (("realm_access", "roles"), {"realm_access": {"roles": ["staff"]}}, {"staff"}),
        (("realm_access", "roles"), {"realm_access": ["staff"]}, set()),
        ("roles", {"roles": {"admin": True}}, set()),
        ("roles", {"roles": ["staff", 7, None, ["admin"]]}, {"staff"}),
        ("roles", {}, set()),
    ],
)
async def test_roles_are_read_from_the_claim_that_is_named(path: Any, claims: dict[str, Any], roles: set[str]) -> None:
    actor = await Reading(None, path).actor_of({"sub": "ann", **claims}, None)
    assert (actor.id, actor.roles) == ("ann", frozenset(roles))


async def test_claims_and_scopes_are_there_for_rules() -> None:
    actor = await Reading(None, "roles").actor_of({"sub": "ann", "team": "red", "scope": "read write", "jti": "7"}, NOW)
    assert actor.claims["team"] == "red"
    assert actor.claims["scopes"] == ["read", "write"]
    assert (actor.expires, actor.session) == (NOW, "7")


@pytest.mark.parametrize("claims", [{}, {"sub": ""}, {"sub": 7}, {"sub": ["ann"]}, {"sub": None}])
async def test_nobody_in_particular_is_nobody_who_is_let_in(claims: dict[str, Any]) -> None:
    with pytest.raises(Unauthorized):
        await Reading(None, "roles").actor_of(claims, NOW)


@pytest.mark.parametrize("answer", [None, Actor(), "ann", 7])
async def test_a_function_that_finds_nobody_lets_nobody_in(answer: Any) -> None:
    with pytest.raises(Unauthorized):
        await Reading(lambda _: answer, "roles").actor_of({"sub": "ann"}, NOW)


async def test_a_function_may_shorten_what_the_token_says_and_not_lengthen_it() -> None:
    for given, expires in ((None, NOW), (NOW - timedelta(1), NOW - timedelta(1)), (NOW + timedelta(1), NOW)):

        async def actor(claims: dict[str, Any], given: datetime | None = given) -> Actor:
            return Actor(7, expires=given, session="s")

        found = await Reading(actor, "roles").actor_of({"sid": "other"}, NOW)
        assert (found.id, found.expires, found.session) == (7, expires, "s")
