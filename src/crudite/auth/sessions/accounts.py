"""Accounts: which field of them is what, and reading one for whoever wants to sign in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import msgspec

from crudite.auth.sessions.home import SessionHome
from crudite.auth.sessions.names import address_spelled, name_spelled
from crudite.changes import Refused, Unit, Write
from crudite.errors import DeclarationError, Fault, Forbidden, Invalid, Malformed, NotUnique
from crudite.messages import ANONYMOUS, ActionName, Actor
from crudite.query.plan import Mask, Plan, Selection
from crudite.query.presence import present
from crudite.query.resolve import Resolver
from crudite.query.simplify import join
from crudite.query.tree import EVERYTHING, NOTHING, Filter, Test, leaves
from crudite.resources.access import at
from crudite.resources.declaring.annotations import peel
from crudite.resources.declaring.declare import Record
from crudite.resources.declaring.definition import Definition
from crudite.resources.declaring.fields import Special
from crudite.resources.declaring.gather import gather, nearest
from crudite.resources.writing.passwords import stamp_of
from crudite.rules import fold
from crudite.schema import DELETED_AT
from crudite.stores.base import Page
from crudite.types import Key, Plain, PlainRecord

_WRITES: tuple[ActionName, ...] = ("create", "update", "replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFields:
    """Which fields of an account are what; None where it has none such.

    `name` is what one signs in with, `password` what only its owner knows, `roles` what he may be. `verified` holds
    the address that has been verified, so that another address is not. `claims` are shown to rules, as `me.team`.
    """

    name: str
    password: str
    roles: str | None = None
    verified: str | None = None
    claims: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Account:
    """One account, as far as it matters for signing in. `can_sign_in` is what the application's own condition says."""

    key: Key
    version: int
    name: str
    hash: str | None
    roles: frozenset[str]
    claims: PlainRecord
    is_verified: bool
    can_sign_in: bool

    @property
    def stamp(self) -> str:
        """What is another one for every password."""
        return stamp_of(self.hash)


class Accounts:
    """The accounts of an application.

    Raises DeclarationError, naming every fault, when the resource cannot be signed in with, or not safely.
    """

    def __init__(self, home: SessionHome, resource: type[Record[Any]], only: Filter | None, **told: Any) -> None:
        definition = home.definitions.get(resource)
        if definition is None:
            raise DeclarationError(
                [f"Sessions({resource.__name__}) needs {resource.__name__} among App(…)'s resources."]
            )
        self.resource = resource
        self.definition = definition
        self.fields = _found(definition, home, told)
        self._home = home
        self._plain = dict.fromkeys(
            name for name in (self.fields.name, self.fields.password, self.fields.roles, self.fields.verified,
                              *self.fields.claims) if name is not None
        )  # fmt: skip
        mask = Mask((definition.schema.key, *(name for name in self._plain if name != definition.schema.key)))
        self._resolver = Resolver(definition.schema, home.definitions.catalog)
        self._everybody = Selection(definition.schema, present(definition.schema), mask)
        self._only = None if only is None else Selection(definition.schema, self._resolved(only), mask)
        self.decisive = self._decisive()
        """The fields that nobody gives his own account, since they decide what it may be: beside those of `matters`
        the ones through which the condition reaches other records."""
        self.matters = self._matters()
        """The fields that decide who signs in and as what, but for the password; None for any."""
        schema = definition.schema
        groups = {*schema.unique, *((one.name,) for one in schema.fields.values() if one.unique), (schema.key,)}
        self._spell = address_spelled if _is_email(_annotations(definition, home)[self.fields.name]) else name_spelled
        self._told_apart_by = sorted(group for group in groups if self.fields.name not in group)

    async def read(self, key: Key) -> Account | None:
        """The account with a key; None when there is none."""
        row = await self._home.store.lookup(self._everybody, key)
        return None if row is None else await self._account(key, row.version, row.json)

    async def named(self, name: str) -> Account | None:
        """The account with a name, in whatever spelling; None when there is none, or that cannot be a name. One from
        before names had one spelling is found by its own, first."""
        given = self.spelled(name)
        if given is None:
            return None
        page = await self._first(2, **{f"{self.fields.name}__in": list({given, self.canonical(given)})})
        found = [await self._account(*one) for one in zip(page.keys, page.versions, page.records, strict=True)]
        return max(found, key=lambda one: one.name == given, default=None)

    async def refuse_earlier(self, name: str, own: Key | None) -> None:
        """Raises NotUnique for the name of another account, spelled as that was before names had one spelling."""
        if name == self.canonical(name):
            return  # the store refuses that
        found = await self._first(1, **{self.fields.name: name})
        if found.keys and found.keys[0] != own:
            detail = f"{self.fields.name} is taken by another record."
            raise NotUnique(faults=[Fault("not_unique", detail, f"/{self.fields.name}")])

    async def refuse_taken(self, given: PlainRecord) -> None:
        """Raises NotUnique where somebody has what a new account would have, and nobody else may. That the name is
        taken, alone or with other fields, is not told."""
        values = {**self.definition.make_defaults(ANONYMOUS, self._home.clock(), given), **given}
        for group in self._told_apart_by:
            wanted = {name: values.get(name) for name in group}
            if None not in wanted.values() and (await self._first(1, **wanted)).keys:
                together = " together" if len(group) > 1 else ""
                detail = f"{{}} is taken{together} by another record."
                raise NotUnique(faults=[Fault("not_unique", detail.format(name), f"/{name}") for name in group])

    def canonical(self, name: str) -> str:
        """The one spelling of a name, in which it is stored; where that cannot be a name, the name itself."""
        return self.spelled(self._spell(name)) or name

    def spelled(self, name: str) -> str | None:
        """A name as its field takes it; None for what cannot be one."""
        try:
            return str(self.definition.bodies["update"].parse_python({self.fields.name: name})[self.fields.name])
        except (Invalid, Malformed):
            return None

    def check_password(self, plain: str, pointer: str) -> None:
        """Raises Invalid for what cannot be a password, with a pointer to it."""
        try:
            self.definition.bodies["update"].parse_python({self.fields.password: plain})
        except Invalid as problem:
            raise Invalid(faults=[type(one)(one.code, one.detail, pointer=pointer) for one in problem.faults]) from None

    async def add(self, name: str, password: str, roles: Sequence[str], values: PlainRecord) -> Key:
        """Makes an account; its key. Raises the problems of a create, and Forbidden for roles where there are none."""
        fields = self.fields
        given: PlainRecord = {**values, fields.name: name, fields.password: password}
        if roles:
            many = fields.roles is not None and self.definition.schema.fields[fields.roles].type.kind == "json"
            if fields.roles is None or not (many or len(roles) == 1):
                raise Forbidden(f"{self.definition.name} has no field for {'so many ' if fields.roles else ''}roles.")
            given[fields.roles] = list(roles) if many else roles[0]
        if fields.verified is not None:
            given[fields.verified] = self.canonical(name)
        made = await self._home.records.create(self.resource, **given)
        key = self.definition.to_plain(made)[self.definition.schema.key]
        return cast(Key, key)

    async def keep_hash(self, account: Account, hash: str) -> None:
        """Stores a hash of the same password that was made with other numbers, unless the account has changed."""
        write = Write(
            action="update", schema=self.definition.schema, key=account.key,
            values={self.fields.password: hash}, expect=account.version,
        )  # fmt: skip
        try:
            await self._home.store.write(Unit(writes=(write,)))
        except Refused:
            return  # it will be made anew at the next log-in

    async def _first(self, limit: int, **values: Any) -> Page:
        filter = self._resolver.filter(self.resource.where(**values).written.filter)
        there = join((filter, self._everybody.filter), either=False)
        selection = Selection(self._everybody.schema, there, self._everybody.mask)
        return await self._home.store.page(Plan(selection=selection, sort=self._resolver.sort([]), limit=limit))

    async def _account(self, key: Key, version: int, text: str) -> Account:
        plain: PlainRecord = msgspec.json.decode(text)
        fields = self.fields
        return Account(
            key, version, plain[fields.name], plain[fields.password], _roles(plain.get(fields.roles or "")),
            {name: plain[name] for name in fields.claims},
            is_verified=fields.verified is not None and plain[fields.verified] == plain[fields.name],
            can_sign_in=await self._is_admitted(key),
        )  # fmt: skip

    async def _is_admitted(self, key: Key) -> bool:
        if self._only is None:
            return True
        return await self._home.store.lookup(at(self._only, self._home.clock), key) is not None

    def _resolved(self, only: Filter) -> Filter:
        resolved = self._resolver.filter(only)
        self._resolver.check()
        if any(not isinstance(leaf, Test) for leaf in leaves(resolved)):
            raise DeclarationError(
                ["Sessions(only=…) takes a condition on the account's own fields, such as where(…)."]
            )
        return resolved

    def _decisive(self) -> frozenset[str]:
        fields, tests = self.fields, () if self._only is None else leaves(self._only.filter)
        asked = {leaf.path.names[0] for leaf in tests if isinstance(leaf, Test)}
        return frozenset((asked | {*fields.claims, *filter(None, (fields.roles, fields.verified))}) - {fields.name})

    def _matters(self) -> frozenset[str] | None:
        fields = self.fields
        matters = {*fields.claims, *filter(None, (fields.roles, fields.verified))}
        if fields.verified is not None:
            matters.add(fields.name)
        if self.definition.schema.is_soft:
            matters.add(DELETED_AT)
        if self._only is not None:
            for leaf in leaves(self._only.filter):
                assert isinstance(leaf, Test)
                if not leaf.path.is_own:
                    return None
                matters.add(leaf.path.field.name)
        return frozenset(matters)


def _roles(value: Plain) -> frozenset[str]:
    if isinstance(value, str):
        return frozenset((value,))
    return frozenset(str(role) for role in value) if isinstance(value, list) else frozenset()


def _found(definition: Definition, home: SessionHome, told: dict[str, Any]) -> AccountFields:
    """The fields as told, or found by their types and names. Raises DeclarationError for what is not safe."""
    schema, faults = definition.schema, list[str]()
    asked = [told[one] for one in ("name", "password", "roles", "verified") if told[one]] + list(told["claims"])
    for one in asked:
        if one not in schema.fields:
            faults.append(f"{definition.name} has no field {one!r}{nearest(one, schema.fields)}.")
    if faults:
        raise DeclarationError([fault.replace("?.", "?") for fault in faults])
    name = told["name"] or _one(
        _names(definition, home), definition, "name", "an Email with Field(unique=True)", faults
    )
    password = told["password"] or _one(definition.passwords, definition, "password", "a Password", faults)
    roles = told["roles"] or ("roles" if "roles" in schema.fields else None)
    verified = told["verified"] or ("verified" if "verified" in schema.fields else None)
    if name in schema.fields and not (schema.fields[name].unique or (name,) in schema.unique):
        faults.append(f"{definition.name}.{name}: what one signs in with is unique: Field(unique=True).")
    if password and password not in definition.passwords:
        faults.append(f"{definition.name}.{password}: it must be a Password.")
    if verified is not None and schema.fields[verified].type.kind != "text":
        faults.append(f"{definition.name}.{verified}: it holds the address that has been verified: str | None = None.")
    for field, what in ((roles, "give himself any role"), (verified, "say that his address is verified")):
        if field is not None and field not in definition.field_write and not _is_closed(definition):
            rule = 'Field(write=allow.role("admin"))' if field == roles else "Field(write=allow.nobody)"
            faults.append(f"{definition.name}.{field}: whoever writes an account could {what}; say {rule}.")
    if faults:
        raise DeclarationError(faults)
    return AccountFields(name=name, password=password, roles=roles, verified=verified, claims=tuple(told["claims"]))


def _names(definition: Definition, home: SessionHome) -> Sequence[str]:
    """What one could sign in with: the addresses that are unique, or else the texts that are."""
    schema = definition.schema
    unique = [f.name for f in schema.fields.values() if f.unique and f.type.kind == "text" and not f.secret]
    annotations = _annotations(definition, home)
    emails = [name for name in annotations if _is_email(annotations[name])]
    return [name for name in emails if name in unique] or emails or unique


def _annotations(definition: Definition, home: SessionHome) -> Mapping[str, Any]:
    return gather(definition.cls, {one.name: one.cls for one in home.definitions}).annotations


def _is_email(annotation: Any) -> bool:
    return any(isinstance(one, Special) and one.name == "email" for one in peel(annotation)[1])


def _is_closed(definition: Definition) -> bool:
    """Whether nobody writes accounts who has no role."""
    samples: dict[str, Key] = {"uuid": str(UUID(int=0)), "text": "a", "integer": 1}
    ordinary = (ANONYMOUS, Actor(samples[definition.schema.key_field.type.kind]))
    rules = [definition.rules[action] for action in _WRITES]
    return all(fold(rule, actor, lambda _: EVERYTHING) == NOTHING for rule in rules for actor in ordinary)


def _one(found: Sequence[str], definition: Definition, what: str, example: str, faults: list[str]) -> str:
    if len(found) == 1:
        return found[0]
    if found:
        faults.append(
            f"{definition.name}: {' and '.join(found)} could be its {what}: say Sessions(…, {what}={found[0]!r})."
        )
    else:
        faults.append(f"{definition.name}: it needs {example} to sign in with.")
    return ""
