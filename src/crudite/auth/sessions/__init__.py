"""Sessions: signing accounts in and out, and knowing who shows one."""

from crudite.auth.sessions.mail import Mail, SendMail
from crudite.auth.sessions.sessions import Sessions

__all__ = ["Mail", "SendMail", "Sessions"]
