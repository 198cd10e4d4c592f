"""What application code declares of an application: handlers, steps around requests, words for errors, files."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, overload

from crudite.app.arguments import shown
from crudite.calling import takes
from crudite.errors import DeclarationError
from crudite.interfaces.files import Files
from crudite.pipeline import Middleware, Step
from crudite.resources.declaring.gather import nearest, sentence
from crudite.resources.handlers import Handler, HandlerKind
from crudite.resources.request import AnyAction

F = TypeVar("F", bound=Callable[..., Any])

_ACTIONS = get_args(AnyAction)


class Declarations(ABC):
    """Takes what is declared, each by a decorator. `provide` is what handlers are given: a type and how to make it."""

    def __init__(self, provide: Mapping[Any, Callable[..., Any]]) -> None:
        self.handlers: dict[str, Handler] = {}
        self._provide = provide
        self._offered: set[str] = set()
        self._middleware: list[Middleware] = []
        self._error_handlers: list[tuple[type[Exception], Callable[..., Any]]] = []
        self._files: list[tuple[str, Files]] = []

    @property
    def offered(self) -> Collection[str]:
        """The names of the handlers that are not the application's own."""
        return self._offered

    @property
    def directories(self) -> Sequence[tuple[str, Files]]:
        """The directories whose files are served, each below a path."""
        return self._files

    @abstractmethod
    def check_routes(self) -> None:
        """Raises DeclarationError when two resources or handlers want the same path."""

    def read(self, name: str) -> Callable[[F], F]:
        """Registers a handler for `GET /name`, the call `name` and the subscription `name`.

        A query that it returns is live where somebody subscribes, a count is a live number.
        """
        return self._handler(name, "read")

    def create(self, name: str) -> Callable[[F], F]:
        """Registers a handler for `POST /name` and the call `name`."""
        return self._handler(name, "create")

    def update(self, name: str) -> Callable[[F], F]:
        """Registers a handler for `PATCH /name` and the call `name`."""
        return self._handler(name, "update")

    def delete(self, name: str) -> Callable[[F], F]:
        """Registers a handler for `DELETE /name` and the call `name`."""
        return self._handler(name, "delete")

    def offer(self, name: str, kind: HandlerKind) -> Callable[[F], F]:
        """Registers a handler that the application replaces by declaring one of that name itself."""

        def register(function: F) -> F:
            if name not in self.handlers:
                self._handler(name, kind)(function)
                self._offered.add(name)
            return function

        return register

    @overload
    def use(self, step: Step) -> Step: ...
    @overload
    def use(self, *, name: str | Sequence[str] = (), action: str | Sequence[str] = ()) -> Callable[[Step], Step]: ...
    def use(
        self, step: Step | None = None, *, name: str | Sequence[str] = (), action: str | Sequence[str] = ()
    ) -> Step | Callable[[Step], Step]:
        """Puts a step `async (request, next) -> response` around every request, or around those of some names
        (paths of resources, names of handlers) and actions. Works as a decorator, with and without arguments.

        Raises DeclarationError for an action that there is not, and for what does not take these two."""
        faults = [
            sentence(f"@app.use: there is no action {one!r}{nearest(one, _ACTIONS)}")
            for one in _set(action)
            if one not in _ACTIONS
        ]
        if faults:
            raise DeclarationError(faults)

        def register(step: Step) -> Step:
            if not takes(step, 2):
                raise DeclarationError([f"@app.use: a step takes (request, next), unlike {shown(step)}."])
            self._middleware.append(Middleware(step, _set(name), _set(action)))
            return step

        return register if step is None else register(step)

    def on_error(self, kind: type[Exception]) -> Callable[[F], F]:
        """Registers what makes a Problem of an exception of application code: `(request, error) -> Problem`.

        Raises DeclarationError for what is no class of exceptions, and for a function that does not take these two."""

        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise DeclarationError([f"@app.on_error is written with a class of exceptions, not with {shown(kind)}."])

        def register(handler: F) -> F:
            if not takes(handler, 2):
                raise DeclarationError([f"@app.on_error: a function takes (request, error), unlike {shown(handler)}."])
            self._error_handlers.append((kind, handler))
            return handler

        return register

    def files(self, path: str, directory: str | Path) -> None:
        """Serves the files of a directory below a path, after everything else; `index.html` for a directory."""
        self._files.append((path.strip("/"), Files(Path(directory))))

    def _faults_of_steps(self, names: Collection[str]) -> list[str]:
        """What is wrong with the steps in an application that has these resources, handlers and channels."""
        return [
            sentence(f"@app.use: no resource and no handler is called {name!r}{nearest(name, names)}")
            for name in sorted({name for one in self._middleware for name in one.names} - set(names))
        ]

    def _handler(self, name: str, kind: HandlerKind) -> Callable[[F], F]:
        if not isinstance(name, str):
            raise DeclarationError([f"@app.{kind} is written with a name, such as @app.{kind}('overdue')."])

        def register(function: F) -> F:
            if name in self.handlers and name not in self._offered:
                raise DeclarationError([f"Two handlers are called {name!r}."])
            before = dict(self.handlers)
            self.handlers[name] = Handler.of(name, kind, function, list(self._provide))
            try:
                self.check_routes()
            except DeclarationError:
                self.handlers = before
                raise
            self._offered.discard(name)
            return function

        return register


def _set(names: str | Sequence[str]) -> frozenset[str]:
    return frozenset((names,) if isinstance(names, str) else names)
