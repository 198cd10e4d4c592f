"""Mail: what is written to the owner of an account, and who brings it there."""

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

MailKind: TypeAlias = Literal["reset", "verify", "taken", "changed", "moved"]


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail to the owner of an account.

    `kind` says what it is about: `reset` and `verify` bring a one-use `token`, and a `link` with it where the
    application has said its address; `taken` tells somebody who signs up that he has an account already; `changed`
    that his password has been changed; `moved`, to the address of before, that the account has another one. `subject`
    and `text` say so in plain English, for whoever has no words of his own. `account` is the key of the account.
    """

    kind: MailKind
    to: str
    subject: str
    text: str = field(repr=False)
    account: str | int
    token: str | None = field(default=None, repr=False)
    link: str | None = field(default=None, repr=False)


SendMail: TypeAlias = Callable[[Mail], Awaitable[None]]
"""Brings a mail on its way."""


def written(kind: MailKind, to: str, account: str | int, url: str | None, token: str | None = None) -> Mail:
    """A mail in plain English. The token stands behind the `#` of the link, which browsers send to nobody."""
    subject, text, page = _WORDS[kind]
    link = f"{url.rstrip('/')}/{page}#{token}" if url is not None and token is not None else None
    ending = f"\n\n{link or f'Your code: {token}'}" if token is not None else ""
    return Mail(kind, to, subject, f"{text}{ending}\n", account, token, link)


async def print_mail(mail: Mail) -> None:
    """Shows a mail to whoever works on the application, in place of sending it."""
    lines = "\n".join(f"  | {line}" for line in mail.text.splitlines())
    sys.stderr.write(f"Mail to {mail.to}: {mail.subject}\n{lines}\n")
    sys.stderr.flush()


_WORDS: dict[MailKind, tuple[str, str, str]] = {
    "reset": (
        "Choose another password",
        "Somebody, you we hope, wants to choose another password for your account. If it was not you, do nothing.",
        "reset-password",
    ),
    "verify": (
        "Is this your address?",
        "Somebody, you we hope, has given us this address as his own.",
        "verify-address",
    ),
    "taken": (
        "You have an account already",
        "Somebody, you we hope, wants to sign up with this address, which has an account already. If you do not know "
        "its password, choose another one.",
        "",
    ),
    "changed": (
        "Your password has been changed",
        "The password of your account has been changed, and all its other sessions have ended. If that was not you, "
        "choose another one now.",
        "",
    ),
    "moved": (
        "Your account has another address",
        "The address of your account has been changed by somebody who knew its password. If that was not you, tell us.",
        "",
    ),
}
