"""How the live query of a list, or of a handler, is served for whoever asks for it."""

import msgspec

from crudite.ids import new_request_id
from crudite.interfaces.base import Host, Scope
from crudite.interfaces.http import credentials_of, parameters_of, read_headers, url_arguments
from crudite.messages import Live
from crudite.query.parse import parse_url
from crudite.resources.declaring.definition import Definition
from crudite.resources.handlers import Handler
from crudite.resources.request import AnyAction, Request


async def explain_list(host: Host, scope: Scope, _: tuple[str, ...], definition: Definition) -> str:
    """The JSON that explains the live list with the same parameters. Raises what subscribing to it raises."""
    request = _request(host, scope, "list", definition.path)
    request.definition, request.query = definition, parse_url(parameters_of(scope))
    return await _explained(host, request)


async def explain_handler(host: Host, scope: Scope, values: tuple[str, ...], handler: Handler) -> str:
    """The same for the live query of a reading handler, with its arguments, of which the path has some values."""
    request = _request(host, scope, "call", handler.name)
    request.args, request.args_at = handler.in_path(values, url_arguments(parameters_of(scope))), None
    return await _explained(host, request)


async def _explained(host: Host, request: Request) -> str:
    response = await host.pipeline(request)
    assert isinstance(response, Live)
    return msgspec.json.encode(host.engine.explain(response.query)).decode()


def _request(host: Host, scope: Scope, action: AnyAction, name: str) -> Request:
    headers = read_headers(scope)
    return Request(
        action, name, credentials=credentials_of(headers, scope), headers=headers, interface="insight",
        id=new_request_id(), is_live=True, performers=host.performer,
    )  # fmt: skip
