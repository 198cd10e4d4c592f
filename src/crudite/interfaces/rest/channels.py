"""The route of a channel: a POST publishes there, once, without joining."""

from crudite.channels import Channel, Sender, Watch
from crudite.errors import Fault, Malformed, NotFound
from crudite.interfaces.base import Host, Receive, Scope, Send
from crudite.interfaces.http import decode_json, read_body
from crudite.interfaces.rest.answers import Exchange, check_content_type, serve
from crudite.interfaces.speaking import channel_name, read_event
from crudite.interfaces.styles import DEFAULT, Style
from crudite.messages import Live
from crudite.resources.request import Request


class ChannelEndpoints:
    """The endpoint of the channels of one declaration."""

    def __init__(self, host: Host, channel: Channel, style: Style = DEFAULT) -> None:
        self._host = host
        self._style = style
        self._channel = channel

    async def publish(self, scope: Scope, receive: Receive, send: Send, keys: tuple[str, ...]) -> None:
        """Answers one request."""
        await serve(self._host, scope, receive, send, self._publish, keys, self._style)

    async def _publish(self, exchange: Exchange, keys: tuple[str, ...]) -> None:
        check_content_type(exchange.headers, "application/json")
        body = decode_json(await read_body(exchange.receive, self._host.limits.body))
        if not isinstance(body, dict) or body.keys() - {"event", "data"}:
            raise Malformed(faults=[Fault("bad_value", 'The body is {"event": …, "data": …}.', pointer="")])
        event, data = read_event(body.get("event"), body.get("data"), self._host.limits.channels)
        address = self._host.channels.find(channel_name(self._channel, keys))
        request = Request(
            "call", address.declared.channel.pattern, args={"channel": address.name, "act": "publish"},
            credentials=exchange.read_credentials, headers=exchange.headers, interface="rest",
            id=exchange.request_id, performers=self._host.performer,
        )  # fmt: skip
        response = await exchange.perform(request)
        watch = Watch(response.query if isinstance(response, Live) else None, lambda: None)
        try:
            if not await watch.begin(self._host.engine, lambda: True):
                raise address.missing() if address.key is not None else NotFound("There is no such channel.")
        finally:
            watch.close()
        await self._host.hub.publish(address, event, data, Sender(id=request.actor.id))
        await exchange.answer(204, None, [])
