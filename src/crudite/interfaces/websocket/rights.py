"""What a WebSocket connection is told when its credentials, or what they allow, change."""

import msgspec

from crudite.errors import Unauthorized
from crudite.interfaces.events import encode, sort_json
from crudite.interfaces.websocket.format import Text, message
from crudite.live import Subscription
from crudite.messages import LiveQuery
from crudite.query.plan import Selection
from crudite.query.tree import NOTHING


def expiring(seconds: int) -> Text:
    """The notification that the credentials expire in so many seconds."""
    return message(f'{{"jsonrpc":"2.0","method":"auth_expiring","params":{{"in":{seconds}}}}}')


def connection_problem(problem: Unauthorized) -> Text:
    """The notification that the connection is closed because of its credentials."""
    return message(f'{{"jsonrpc":"2.0","method":"problem","params":{{"problem":{encode(problem.as_json())}}}}}')


def rights(to: Subscription) -> Text:
    """The notification that a subscription belongs to another group, since its rights have changed."""
    given = encode({"sub": to.name, "group": to.group, "key": to.key, "lane": to.lane})
    return message(f'{{"jsonrpc":"2.0","method":"rights","params":{given[:-1]},"sort":{sort_json(to.query)}}}}}')


def nothing_of(query: LiveQuery) -> LiveQuery:
    """The query of somebody to whom it shows no record at all."""
    shown = query.plan.selection
    plan = msgspec.structs.replace(query.plan, selection=Selection(shown.schema, NOTHING, shown.mask))
    return LiveQuery(plan, f"nothing of {query.identity}", query.counts)
