"""Whose an API key is: an account, as it is when the key is shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from crudite.clock import Clock
from crudite.errors import DeclarationError
from crudite.query.plan import Mask, Selection
from crudite.query.presence import present
from crudite.query.resolve import Resolver
from crudite.query.simplify import join
from crudite.query.tree import Filter, Test, leaves
from crudite.resources.access import at
from crudite.resources.declaring.declare import Record
from crudite.resources.declaring.definition import Definitions
from crudite.resources.declaring.gather import nearest
from crudite.schema import DELETED_AT
from crudite.stores.base import Store
from crudite.types import Key, PlainRecord


@dataclass(frozen=True, slots=True)
class Owner:
    """An account that may use its keys."""

    key: Key
    roles: frozenset[str]
    claims: PlainRecord


class Owners:
    """The accounts of an application, for their keys.

    `roles` is the field that holds the roles, `claims` are fields that rules may speak of, `only` is the condition on
    accounts that may use keys, and `proof` names two fields that must hold the same in them. Raises DeclarationError
    for a field that is not there, or a condition that is none.
    """

    def __init__(
        self, account: type[Record[Any]], store: Store, definitions: Definitions, clock: Clock,
        *, roles: str | None, claims: Sequence[str], only: Filter | None, proof: tuple[str, str] | None,
    ) -> None:  # fmt: skip
        found = self._definition = definitions[account]
        self._store = store
        self._clock = clock
        schema = found.schema
        wanted = [*([roles] if roles is not None else []), *claims]
        missing = [name for name in wanted if name not in schema.fields]
        if missing:
            hints = (
                f"{found.name} has no field {name!r}{nearest(name, schema.fields)}".rstrip("?.") for name in missing
            )
            raise DeclarationError([f"{hint}." for hint in hints])
        self._roles = roles if roles is not None else ("roles" if "roles" in schema.fields else None)
        self._claims = tuple(claims)
        self._proof = proof
        names = dict.fromkeys((schema.key, *filter(None, (self._roles,)), *self._claims, *(proof or ())))
        admitted = present(schema) if only is None else self._condition(only, definitions)
        self._admitted = Selection(schema, admitted, Mask(tuple(names)))
        tests = () if only is None else leaves(admitted)
        decide = {leaf.path.field.name for leaf in tests if isinstance(leaf, Test)}
        decide |= {DELETED_AT} if schema.is_soft else set()
        self.matters = frozenset((*self._claims, *filter(None, (self._roles,)), *decide, *(proof or ())))
        """The fields that decide what a key may do."""

    async def read(self, key: Key) -> Owner | None:
        """The account with a key; None when there is none, or that may not use keys."""
        row = await self._store.lookup(at(self._admitted, self._clock), key)
        if row is None:
            return None
        plain: PlainRecord = msgspec.json.decode(row.json)
        if self._proof is not None and plain[self._proof[0]] != plain[self._proof[1]]:
            return None
        held = plain.get(self._roles or "")
        roles = [held] if isinstance(held, str) else held if isinstance(held, list) else []
        return Owner(key, frozenset(map(str, roles)), {name: plain[name] for name in self._claims})

    def _condition(self, only: Filter, definitions: Definitions) -> Filter:
        resolver = Resolver(self._definition.schema, definitions.catalog)
        condition = resolver.filter(only)
        resolver.check()
        if any(not isinstance(leaf, Test) or not leaf.path.is_own for leaf in leaves(condition)):
            raise DeclarationError(["ApiKeys(only=…) takes a condition on the account's own fields."])
        return join((condition, present(self._definition.schema)), either=False)
