"""The handlers that sessions offer, each under a name that the application may take for its own.

They do nothing by themselves: what they call are methods of `Sessions`, which an application's own handlers call, too.
"""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from crudite.auth.identification import Home
from crudite.auth.sessions.signing import Signing
from crudite.resources.request import Request

Function = Callable[..., Awaitable[Any]]


def offer_sessions(home: Home, sessions: Signing, name: str, password: str) -> None:
    """Offers logging in and out, and what belongs to it; `name` and `password` are what the account's fields are
    called."""

    async def log_in(request: Request, **given: Any) -> Any:
        """Begins a session: the browser gets a cookie; whoever asks for `bearer`, a token."""
        return await sessions.log_in(request, given[name], given[password], bearer=given["bearer"])

    async def log_out(request: Request) -> Any:
        """Ends this session."""
        await sessions.log_out(request)
        return {}

    async def log_out_everywhere(request: Request) -> Any:
        """Ends all sessions of the account, this one too."""
        return {"ended": await sessions.log_out_everywhere(request)}

    async def change_password(request: Request, old: str, new: str, bearer: bool = False) -> Any:
        """Changes the password, and ends all other sessions of the account."""
        return await sessions.change_password(request, old, new, bearer=bearer)

    async def change_name(request: Request, **given: Any) -> Any:
        """Changes the name that one signs in with; its old address is told."""
        await sessions.change_name(request, given[name], given[password])
        return {}

    async def session(request: Request) -> dict[str, Any] | None:
        """Who is signed in, until when, and the values that the client keeps in the session."""
        return await sessions.show(request)

    async def session_client(request: Request, values: dict[str, Any]) -> Any:
        """Keeps values of the client's in the session: null takes one away."""
        return await sessions.remember(request, values, client=True)

    home.offer("log-in", "create")(taking(log_in, {name: str, password: str, "bearer": (bool, False)}))
    home.offer("log-out", "create")(log_out)
    home.offer("log-out-everywhere", "create")(log_out_everywhere)
    home.offer("change-password", "create")(change_password)
    home.offer(f"change-{name.replace('_', '-')}", "create")(taking(change_name, {name: str, password: str}))
    home.offer("session", "read")(session)
    home.offer("session/client", "update")(session_client)


def offer_listing(home: Home, sessions: Signing) -> None:
    """Offers the list of one's own sessions where they are no rows of the application's store."""

    async def listed(request: Request) -> list[dict[str, Any]]:
        """One's own sessions."""
        return await sessions.list(request)

    home.offer("sessions", "read")(listed)


def offer_ending(home: Home, sessions: Signing) -> None:
    """Offers to end one of one's own sessions, wherever they are kept."""

    async def end_session(request: Request, session: str) -> Any:
        """Ends one of one's own sessions."""
        await sessions.end(request, session)
        return {}

    home.offer("end-session", "create")(end_session)


def offer_mail(home: Home, sessions: Signing, name: str, password: str) -> None:
    """Offers to choose another password by a mail."""

    async def forgot_password(request: Request, **given: Any) -> Any:
        """Asks for a mail with a link to choose another password. The answer is the same for everybody."""
        await sessions.forgot_password(request, given[name])
        return {}

    async def reset_password(request: Request, **given: Any) -> Any:
        """Chooses another password by the token of such a mail, and ends all sessions of the account."""
        return {"account": await sessions.reset_password(request, given["token"], given[password])}

    home.offer("forgot-password", "create")(taking(forgot_password, {name: str}))
    home.offer("reset-password", "create")(taking(reset_password, {"token": str, password: str}))


def offer_verification(home: Home, sessions: Signing) -> None:
    """Offers to verify addresses by a mail."""

    async def send_verification(request: Request) -> Any:
        """Asks for a mail with a link that verifies the address of whoever is signed in."""
        await sessions.send_verification(request)
        return {}

    async def verify_address(request: Request, token: str) -> Any:
        """Verifies an address by the token of such a mail."""
        return {"account": await sessions.verify_address(request, token)}

    home.offer("send-verification", "create")(send_verification)
    home.offer("verify-address", "create")(verify_address)


def offer_sign_up(home: Home, sessions: Signing) -> None:
    """Offers to make an account without telling who has one."""

    async def sign_up(request: Request, account: dict[str, Any]) -> Any:
        """Makes an account and mails a link that verifies its address. The answer is the same for everybody."""
        await sessions.sign_up(request, account)
        return {}

    home.offer("sign-up", "create")(sign_up)


def taking(function: Function, arguments: dict[str, Any]) -> Function:
    """The same function with arguments of these names and types, a pair for one with a default: what a field is called
    is only known when the application is made."""
    parameters = [inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Request)]
    for name, kind in arguments.items():
        annotation, default = kind if isinstance(kind, tuple) else (kind, inspect.Parameter.empty)
        parameters.append(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
        )
    made: Any = function
    made.__signature__ = inspect.Signature(parameters)
    made.__annotations__ = {one.name: one.annotation for one in parameters}
    return function
