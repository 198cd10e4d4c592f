"""Rules: what folding for an actor gives, and above all what it never permits."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crudite.messages import ANONYMOUS, Actor
from crudite.query import tree
from crudite.query.identity import identity_of
from crudite.query.parse import where
from crudite.query.simplify import simplify
from crudite.query.tree import EVERYTHING, NOTHING, And, Filter, Not, Or, leaves
from crudite.rules import allow, bind_clock, clocks_in, fold, me, now, today, values_used
from tests.unit.query.shop import MEMBERSHIP, PROJECT, TASK, Tables, resolve

STAFF = Actor(id=7, roles=frozenset({"staff", "author"}), claims={"team": 3, "teams": [3, 4], "name": "Ann"})


def folded(rule: Filter, actor: Actor = STAFF, schema: Any = PROJECT) -> Filter:
    return fold(resolve(rule, schema), actor)


def test_me_becomes_the_actors_own_value() -> None:
    assert folded(allow.where(owner=me.id)) == resolve(where(owner=7), PROJECT)
    assert folded(allow.where(members__user=me.id)) == resolve(where(members__user=7), PROJECT)
    assert folded(allow.where(name__contains=me.name)) == resolve(where(name__contains="Ann"), PROJECT)
    assert folded(allow.where(id__in=me.teams)) == resolve(where(id__in=[3, 4]), PROJECT)
    assert folded(allow.where(tags__contains=me.name), schema=TASK) == resolve(where(tags__contains="Ann"))


def test_roles_and_other_conditions_on_the_actor_fold_away() -> None:
    rule = allow.role("staff") | allow.where(owner=me.id)
    assert folded(rule) == EVERYTHING
    assert folded(rule, Actor(id=8)) == resolve(where(owner=8), PROJECT)
    assert folded(~allow.role("staff")) == NOTHING
    assert folded(allow.signed_in) == EVERYTHING
    assert folded(allow.signed_in, ANONYMOUS) == NOTHING
    assert folded(allow.when(lambda actor: "x" in actor.claims)) == NOTHING
    assert folded(allow.everyone) == EVERYTHING
    assert folded(allow.nobody) == NOTHING
    assert folded(allow.role("author", "other")) == EVERYTHING


ABSENT = [
    allow.where(owner=me.id),
    allow.where(owner__ne=me.id),
    ~allow.where(owner=me.id),
    ~allow.where(owner__ne=me.id),
    allow.where(owner__in=me.nothing),
    allow.where(owner__nin=me.nothing),
    allow.where(owner__in=[me.id]),
    allow.where(owner__nin=[me.id]),
    allow.where(members__user=me.id),
    ~allow.where(members__user=me.id),
    ~allow.where(members__user__ne=me.id),
    allow.where(owner__memberships__user=me.id),
    ~allow.where(owner__memberships__user=me.id, owner__memberships__role="x"),
    allow.where(name__startswith=me.name),
    ~allow.where(name__startswith=me.name),
    allow.where(id__between=(me.id, 100)) & allow.everyone,
    ~allow.where(members__user__projects__owner=me.id),
]


@pytest.mark.parametrize("rule", ABSENT, ids=repr)
def test_a_value_that_the_actor_lacks_permits_nothing(rule: Filter) -> None:
    assert folded(rule, ANONYMOUS) == NOTHING
    assert folded(rule | rule, ANONYMOUS) == NOTHING
    assert folded(~~rule, ANONYMOUS) == NOTHING
    assert folded(rule | allow.where(open=True), ANONYMOUS) == resolve(where(open=True), PROJECT)


@pytest.mark.parametrize(
    ("claim", "rule"),
    [
        ("7", allow.where(owner=me.claim)),
        (True, allow.where(owner=me.claim)),
        ({"a": 1}, allow.where(owner=me.claim)),
        ([7], allow.where(owner=me.claim)),
        (7, allow.where(owner__in=me.claim)),
        (["7"], allow.where(owner__in=me.claim)),
        ([[7]], allow.where(owner__in=me.claim)),
        (None, allow.where(owner=me.claim)),
        ("\ud800", allow.where(name__ne=me.claim)),
        (2**70, allow.where(owner__ne=me.claim)),
    ],
)
def test_a_value_of_another_type_is_as_lacking(claim: Any, rule: Filter) -> None:
    assert folded(rule, Actor(id=1, claims={"claim": claim})) == NOTHING


@dataclass(frozen=True)
class Claimant:
    """An actor for tests, made of anything."""

    id: Any = None
    roles: frozenset[str] = frozenset()
    claims: dict[str, Any] = field(default_factory=dict)


_terms: st.SearchStrategy[Filter] = st.sampled_from([
    *ABSENT, allow.where(open=True), allow.role("staff"), allow.signed_in, allow.where(owner=me.team),
    allow.where(owner__in=me.teams), allow.where(members__role=me.name, members__user=me.id),
    allow.where(members__user__in=me.teams), allow.nobody, allow.everyone, allow.where(name__in=me.roles),
])  # fmt: skip
_rules = st.recursive(
    _terms,
    lambda inner: (
        st.builds(lambda a, b: a & b, inner, inner) | st.builds(lambda a, b: a | b, inner, inner) | inner.map(Not)
    ),
    max_leaves=5,
)
_claims = st.sampled_from(
    [None, 1, 7, "7", "1", "Ann", True, 1.0, [1, 7], ["7"], (7, 1), {7, 1}, [True], [], [None, 7]]
)
_actors = st.builds(
    Claimant,
    st.sampled_from([None, 7, 8, "7"]),
    st.sampled_from([frozenset(), frozenset({"staff"}), frozenset({"Ann"})]),
    st.fixed_dictionaries({}, optional={"team": _claims, "teams": _claims, "name": _claims}),
)

_WORLD = Tables(
    Account=[{"id": 7, "name": "Ann"}, {"id": 8, "name": "Bob"}],
    Project=[{"id": i, "name": n, "open": o, "owner": w} for i, n, o, w in
             [(1, "Ann", True, 7), (2, "staff", False, 8), (3, "", False, None), (7, "x", True, 1)]],
    Membership=[{"id": 1, "project": 1, "user": 8, "role": "Ann"},
                {"id": 2, "project": 2, "user": 7, "role": "x"}],
)  # fmt: skip


@given(_rules, _actors)
def test_a_folded_rule_speaks_of_no_actor_any_more(rule: Filter, actor: Claimant) -> None:
    result = folded(rule, actor)  # type: ignore[arg-type]
    for leaf in leaves(result):
        assert not isinstance(leaf, tree.Given)
        assert not isinstance(leaf, tree.Test) or leaf.symbol is None
    assert result == simplify(result)


@given(_rules, _actors, _actors)
def test_actors_with_the_same_values_get_the_same_folded_rule(rule: Filter, one: Claimant, two: Claimant) -> None:
    resolved = resolve(rule, PROJECT)
    if repr(values_used(resolved, one)) == repr(values_used(resolved, two)):
        assert identity_of(fold(resolved, one)) == identity_of(fold(resolved, two))


def test_numbers_and_their_texts_are_different_values() -> None:
    rule = resolve(allow.where(owner=me.team), PROJECT)
    number, text = Claimant(claims={"team": 7}), Claimant(claims={"team": "7"})
    assert values_used(rule, number) == (7,)
    assert values_used(rule, text) == (None,)
    many = resolve(allow.where(owner__in=me.teams), PROJECT)
    assert values_used(many, Claimant(claims={"teams": [4, 3, 4]})) == ((3, 4),)
    assert values_used(many, Claimant(claims={"teams": ["4"]})) == (None,)


@given(st.lists(st.sampled_from(ABSENT), min_size=1, max_size=4), st.data())
def test_absent_values_permit_nothing_under_every_combination(rules: list[Filter], data: st.DataObject) -> None:
    rule = rules[0]
    for other in rules[1:]:
        rule = data.draw(st.sampled_from([rule & other, rule | other, ~(rule & other), ~(rule | other), ~rule]))
    assert _WORLD.found(PROJECT, folded(rule, ANONYMOUS)) == []


@given(_rules, _rules)
def test_folding_both_of_two_alternatives_permits_what_either_permits(one: Filter, two: Filter) -> None:
    both = _WORLD.found(PROJECT, folded(one | two))
    assert both == [
        key for key in (1, 2, 3, 7)
        if key in _WORLD.found(PROJECT, folded(one)) or key in _WORLD.found(PROJECT, folded(two))
    ]  # fmt: skip


def test_the_clock_is_bound_in_utc() -> None:
    at = datetime(2026, 11, 20, 23, 30, tzinfo=timezone(timedelta(hours=-2)))
    rule = resolve(where(at__lt=now, due__gte=today))
    assert clocks_in(rule) == {"now", "today"}
    assert bind_clock(rule, at) == resolve(where(at__lt="2026-11-21T01:30:00Z", due__gte="2026-11-21"))
    assert bind_clock(rule, datetime(2026, 11, 20, 23, 30)) == resolve(  # noqa: DTZ001
        where(at__lt="2026-11-20T23:30:00Z", due__gte="2026-11-20")
    )
    assert clocks_in(bind_clock(rule, at)) == frozenset()


def test_the_clock_is_bound_inside_related_records_and_alternatives() -> None:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    rule = resolve(where(tasks__due__lt=today) | where(open=True), PROJECT)
    assert bind_clock(rule, at) == resolve(where(tasks__due__lt="2026-11-20") | where(open=True), PROJECT)


def test_a_rule_that_is_not_folded_gets_no_clock() -> None:
    with pytest.raises(TypeError, match=r"me\.id has no value yet"):
        bind_clock(resolve(where(owner=me.id), PROJECT), datetime(2026, 11, 20, tzinfo=UTC))
    assert clocks_in(resolve(where(owner=me.id), PROJECT)) == frozenset()


def test_me_stands_for_the_actor_only_in_rules() -> None:
    for misuse in (bool, str, lambda it: it == 1, hash):
        with pytest.raises(TypeError, match=r"request\.actor"):
            misuse(me)
    assert repr(me) == "me"
    assert repr(me.id) == "me.id"
    assert not hasattr(me, "__len__")


def test_a_rule_has_no_truth_value() -> None:
    with pytest.raises(TypeError, match=r"&, \|"):
        bool(allow.everyone)


def test_and_or_and_not_put_rules_together() -> None:
    a, b = where(open=True), where(name="x")
    assert a & b == And((a, b))
    assert a | b == Or((a, b))
    assert ~a == Not(a)
    assert resolve(a & b, PROJECT) == resolve(where(open=True, name="x"), PROJECT)
    assert resolve(where(user=1), MEMBERSHIP) != resolve(where(user=2), MEMBERSHIP)
