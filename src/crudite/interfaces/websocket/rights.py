"""What a WebSocket connection is told when its credentials, or what they allow, change."""

from crudite.errors import Unauthorized
from crudite.interfaces.events import encode
from crudite.interfaces.websocket.format import Text, message


def expiring(seconds: int) -> Text:
    """The notification that the credentials expire in so many seconds."""
    return message(f'{{"jsonrpc":"2.0","method":"auth_expiring","params":{{"in":{seconds}}}}}')


def connection_problem(problem: Unauthorized) -> Text:
    """The notification that the connection is closed because of its credentials."""
    return message(f'{{"jsonrpc":"2.0","method":"problem","params":{{"problem":{encode(problem.as_json())}}}}}')
