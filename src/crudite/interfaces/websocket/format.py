"""The messages of a WebSocket connection: answers to calls, and notifications of the live engine."""

from collections.abc import Hashable, Sequence

from crudite.changes import ResetReason
from crudite.errors import Problem
from crudite.interfaces.events import encode, frame_members, sort_json
from crudite.live import Frame, LaneName, Subscribed, Subscription
from crudite.types import Plain


class Text(bytes):
    """A message that keeps its text, since ASGI takes text: decoded once for all connections that get it."""

    text: str


def message(text: str) -> Text:
    """A whole message."""
    made = Text(text.encode())
    made.text = text
    return made


class RpcFormat:
    """Turns facts into JSON-RPC notifications (`live.Format`); the same bytes for every connection."""

    share: Hashable = "websocket"
    heartbeat = 20.0
    is_torn = False
    has_lanes = True

    def address(self, name: str) -> Hashable:
        return None

    def frame(self, frame: Frame, to: Subscription, before: str, after: str | None) -> Sequence[bytes]:
        return self._told(f'"group":"{to.group}",{frame_members(frame)}', to, after)

    def frame_alone(self, frame: Frame, to: Subscription, before: str, after: str | None) -> Sequence[bytes]:
        return self._told(f'"sub":{encode(to.name)},{frame_members(frame)}', to, after)

    def _told(self, members: str, to: Subscription, after: str | None) -> Sequence[bytes]:
        told = _notification("frame", members)
        if after is None:
            return [message(told)]
        return [message(f"[{told},{_commit(after, to.lane)}]")]  # one message: one write, and applied in one go

    def resumed(self, frame: Frame | None, to: Subscription, before: str, after: str) -> Sequence[bytes]:
        if frame is None:
            return [self.ready(to, after)]
        # One message: a client that had applied the frame and did not know it could not resume.
        told = _notification("frame", f'"sub":{encode(to.name)},{frame_members(frame)}')
        return [message(f"[{told},{_commit(after, to.lane)},{_ready(to, after)}]")]

    def commit(self, cursor: str, lane: LaneName) -> bytes:
        return message(_commit(cursor, lane))

    def snapshot(self, to: Subscription, records: Sequence[str]) -> bytes:
        return message(_notification("snapshot", f'"sub":{encode(to.name)},"records":[{",".join(records)}]'))

    def value(self, to: Subscription, value: Plain) -> bytes:
        return message(_notification("snapshot", f'"sub":{encode(to.name)},"value":{encode(value)}'))

    def ready(self, to: Subscription, cursor: str) -> bytes:
        return message(_ready(to, cursor))

    def reset(self, to: Subscription, reason: ResetReason) -> bytes:
        return message(_notification("reset", f'"sub":{encode(to.name)},"reason":"{reason}"'))

    def problem(self, to: Subscription, problem: Problem) -> bytes:
        return subscription_problem(to.name, problem)

    def acks(self, calls: Sequence[Plain]) -> bytes:
        return message(_notification("acks", f'"ids":{encode(calls)}'))

    def ping(self) -> bytes:
        return message('{"jsonrpc":"2.0","method":"ping"}')

    def bye(self, retry_in: int) -> bytes:
        return message(_notification("bye", f'"retry_in":{retry_in}'))


def subscription_problem(name: str, problem: Problem) -> Text:
    """The notification that a subscription has ended."""
    return message(_notification("problem", f'"sub":{encode(name)},"problem":{encode(problem.as_json())}'))


def result(call: Plain, json: str) -> str:
    """The answer to a call that went well; `json` is the text of its result."""
    return f'{{"jsonrpc":"2.0","id":{encode(call)},"result":{json}}}'


def error(call: Plain, problem: Problem, request_id: str | None = None, code: int | None = None) -> str:
    """The answer to a call that failed; `code` is the problem's status unless JSON-RPC has one of its own."""
    shown = {"code": code or problem.status, "message": problem.title, "data": problem.as_json(request_id)}
    return f'{{"jsonrpc":"2.0","id":{encode(call)},"error":{encode(shown)}}}'


def subscribed_result(subscribed: Subscribed, resource: str) -> str:
    """The result of a subscribe call."""
    to = subscribed.subscription
    schema = to.query.plan.selection.schema
    given = {
        "sub": to.name, "group": to.group, "key": to.key, "lane": to.lane, "resumed": subscribed.resumed,
        "resource": resource,
    }  # fmt: skip
    return f'{encode(given)[:-1]},"sort":{sort_json(to.query)},"key_field":{encode(schema.key)}}}'


def _notification(method: str, members: str) -> str:
    return f'{{"jsonrpc":"2.0","method":"{method}","params":{{{members}}}}}'


def _ready(to: Subscription, cursor: str) -> str:
    return _notification("ready", f'"sub":{encode(to.name)},"cursor":"{cursor}"')


def _commit(cursor: str, lane: LaneName) -> str:
    further = "" if lane == "exact" else f',"lane":"{lane}"'
    return _notification("commit", f'"cursor":"{cursor}"{further}')
