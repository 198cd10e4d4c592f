"""What stands around the ordinary writes of accounts: their names and passwords are not like any other field."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from crudite.auth.sessions.accounts import Accounts
from crudite.auth.sessions.home import SessionHome
from crudite.auth.sessions.throttle import Throttle
from crudite.errors import Fault, Forbidden, Invalid, Malformed
from crudite.resources.declaring.body import decoded
from crudite.resources.hooks import Hook
from crudite.resources.request import Request
from crudite.resources.writing.below import RAW
from crudite.types import Key


def spell_names(accounts: Accounts) -> None:
    """Has the names of accounts kept in one spelling, whoever writes them, behind the hooks of the application."""
    field, verified, key = accounts.fields.name, accounts.fields.verified, accounts.definition.schema.key

    async def spell(record: Any, request: Request, old: Any) -> None:
        name = getattr(record, field, None)
        if isinstance(name, str) and (old is None or getattr(old, field) != name):
            await accounts.refuse_earlier(name, None if old is None else getattr(old, key))
            setattr(record, field, accounts.canonical(name))
        proven = getattr(record, verified, None) if verified is not None else None
        if verified is not None and isinstance(proven, str) and proven != getattr(record, field, None):
            setattr(record, verified, accounts.canonical(proven))  # a provider may write it in another way

    hooks = cast(dict[Any, tuple[Hook, ...]], accounts.definition.hooks)
    for action in ("create", "update", "replace"):
        hooks["before", action] = (*hooks.get(("before", action), ()), Hook.of(spell, {}))


def guard_password(home: SessionHome, accounts: Accounts) -> None:
    """A password is changed by who knows the old one, and not by whoever may write the account; unless the application
    has a rule of its own for that."""
    field = accounts.fields.password
    if field in accounts.definition.field_write:
        return

    @home.use(name=accounts.definition.path, action=("update", "replace", "set"))
    async def refuse_silent_change(request: Request, next: Any) -> Any:
        for _, given, place in _changes(request, accounts):
            if field in given:
                detail = "A password is changed by `change-password`, which asks for the old one."
                raise Forbidden(faults=[Fault("not_writable", detail, pointer=f"{place}/{field}")])
        return await next()


def guard_name(home: SessionHome, accounts: Accounts) -> None:
    """To whom mail goes is changed by who knows the password, where a lost one is replaced by mail: else whoever has
    stolen a session had the account for good. Others' names are for the rules of the application to guard."""
    field = accounts.fields.name
    if field in accounts.definition.field_write:
        return

    @home.use(name=accounts.definition.path, action=("update", "replace", "set"))
    async def refuse_silent_move(request: Request, next: Any) -> Any:
        for key, given, place in _changes(request, accounts):
            if field in given and str(key) == str(request.actor.id):
                account, name = await accounts.read(cast(Key, request.actor.id)), str(given[field])
                if account is None or account.name not in (accounts.spelled(name), accounts.canonical(name)):
                    detail = f"It is changed by `change-{field.replace('_', '-')}`, which asks for the password."
                    raise Forbidden(faults=[Fault("not_writable", detail, pointer=f"{place}/{field}")])
        return await next()


def count_names(home: SessionHome, accounts: Accounts, throttle: Throttle) -> None:
    """Counts those who write names, by their address: that one is taken is told (409), and so who has an account."""
    field = accounts.fields.name

    @home.use(name=accounts.definition.path, action=("create", "update", "replace", "set"))
    async def count(request: Request, next: Any) -> Any:
        data = _decoded(request.data)
        given = data if isinstance(data, list) else [data]
        named = sum(isinstance(one, Mapping) and field in one for one in given)
        if request.action == "create" or named:
            await throttle.names(request.credentials.address, len(given) if request.action == "create" else named)
        return await next()


def _changes(request: Request, accounts: Accounts) -> Iterator[tuple[Any, Mapping[str, Any], str]]:
    """The keys of the accounts that a request changes, with the fields that it gives each and where they stand in its
    body. Of a whole that is set those that it names by their keys: all others are new, or stay as they are."""
    data = _decoded(request.data)
    if request.action != "set":
        yield request.key, data if isinstance(data, Mapping) else {}, ""
        return
    for index, given in enumerate(data if isinstance(data, list | tuple) else ()):
        if isinstance(given, Mapping) and accounts.definition.schema.key in given:
            yield _key(given, accounts), given, f"/{index}"


def _key(entry: Mapping[str, Any], accounts: Accounts) -> Any:
    """The key of an account, in whatever way it is written; None for what is none, which is refused later."""
    key = accounts.definition.schema.key
    try:
        return accounts.definition.bodies["update"].parse_python({key: entry[key]})[key]
    except (Invalid, Malformed):
        return None


def _decoded(data: Any) -> Any:
    if isinstance(data, RAW):
        try:
            return decoded(bytes(data))
        except Malformed:  # whoever parses it says what is wrong
            return None
    return data
