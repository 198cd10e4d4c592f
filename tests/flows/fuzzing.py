"""An application as schemathesis sees it, asked what fits its description and what does not."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from crudite import App
from crudite.interfaces.base import Receive, Scope, Send

REFUSALS = [400, 401, 403, 404, 405, 406, 412, 413, 415, 422]


@contextmanager
def described(app: App) -> Iterator[Any]:
    """The description of a running application, whose streams end with their first bytes."""
    # here, because it takes seconds, and every process of a parallel run reads this module
    import schemathesis
    from schemathesis.python.asgi import shutdown_lifespans

    # a precondition is looked at before the body is (RFC 9110, section 13.2.1)
    checks = {"negative_data_rejection": {"expected-statuses": REFUSALS}}
    config = schemathesis.config.SchemathesisConfig.from_dict({"seed": 1, "checks": checks})
    yield schemathesis.openapi.from_asgi("/openapi.json", _ending(app), config=config)
    shutdown_lifespans()  # it would leave the application open until the interpreter ends, after the database


def _ending(app: App) -> Callable[[Scope, Receive, Send], Any]:
    """An application whose event streams lose their reader when it has got something."""

    async def ended(scope: Scope, receive: Receive, send: Send) -> None:
        is_stream = has_ended = False

        async def take() -> Any:
            return {"type": "http.disconnect"} if has_ended else await receive()

        async def give(message: Any) -> None:
            nonlocal is_stream, has_ended
            if has_ended:
                raise OSError("the reader has gone")
            if message["type"] == "http.response.start":
                is_stream = any(value.startswith(b"text/event-stream") for _, value in message["headers"])
            elif is_stream and message.get("body"):
                has_ended, message = True, {**message, "more_body": False}
            await send(message)

        await app(scope, take, give)

    return ended


def name_of(operation: Any) -> str:
    """The `operationId`."""
    return str(operation.definition.raw["operationId"])


def ask(case: Any, headers: dict[str, str]) -> Any:
    """The answer to a request. Fails when it is not as described."""
    from schemathesis.specs.openapi import checks

    response = case.call(headers=headers)
    # valid by the schema and still refused: a cursor that nobody gave, a key that points at nothing
    excluded: list[Any] = [checks.positive_data_acceptance]
    if response.status_code == 201 and not response.content:  # OpenAPI cannot say that a body may be missing
        assert "Without a body" in case.operation.definition.raw["responses"]["201"]["description"]
        excluded += [checks.content_type_conformance, checks.response_schema_conformance]
    case.validate_response(response, excluded_checks=excluded, headers=headers)
    return response


def can_be_wrong(operation: Any) -> bool:
    """Whether anything does not fit an operation's description: where any text is taken, all of them do."""
    given = [one.definition for one in operation.iter_parameters()]
    is_any = [
        one["schema"].items() <= {"type": "string", "minLength": 1}.items() for one in given if one["in"] != "query"
    ]
    return bool(operation.body) or len(is_any) < len(given) or not all(is_any)


def fuzz(operation: Any, examples: int, keys: dict[str, Any], headers: dict[str, str], *, fits: bool) -> list[int]:
    """The statuses of the answers to requests that fit an operation's description, or do not. Half of those that fit
    name records that are there. Fails when an answer is not as described."""
    from schemathesis import GenerationMode
    from schemathesis.core.parameters import ParameterLocation

    mode = GenerationMode.POSITIVE if fits else GenerationMode.NEGATIVE
    statuses = []

    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode), is_there=st.booleans(), is_known=st.booleans())
    def attempt(case: Any, is_there: bool, is_known: bool) -> None:
        path = case.meta.components.get(ParameterLocation.PATH)
        if path is not None and path.mode is GenerationMode.POSITIVE and (is_there or not fits):
            given = {name: keys.get(name, value) for name, value in case.path_parameters.items()}
            case.path_parameters = {
                name: str(value) if isinstance(case.path_parameters[name], str) else value
                for name, value in given.items()
            }
        statuses.append(ask(case, headers if is_known else {}).status_code)

    attempt()
    return statuses
