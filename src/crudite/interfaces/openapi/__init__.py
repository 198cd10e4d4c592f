"""The description of the application: an OpenAPI 3.1.1 document, and pages that show it and all problems."""

from importlib.resources import files
from typing import Any

import msgspec

from crudite.errors import Forbidden, NotFound, Problem
from crudite.ids import new_request_id
from crudite.interfaces.base import Endpoint, Host, Receive, Router, Scope, Send
from crudite.interfaces.files import send_file
from crudite.interfaces.http import read_headers, send_problem, send_response
from crudite.interfaces.insiders import is_local, is_of_others
from crudite.interfaces.openapi.document import make_document
from crudite.interfaces.openapi.problems import as_html

PROBLEMS_PATH = "/docs/problems"
"""Where the `type` of every problem leads; it is there whatever path the documentation has."""

_ASSETS = frozenset((
    "docs.css", "main.js", "dom.js", "schema.js", "operation.js", "form.js", "examples.js", "sending.js",
    "live.js", "icon.svg",
))  # fmt: skip
_LOCAL_ONLY = "The API description is for clients on the same machine; OpenApi(public=True) shows it to everyone."


class OpenApi:
    """Serves the document at `path` and the page that shows it at `docs`.

    While an application runs for others than its developers (`crudite run`), both are shown to clients on the
    same machine only, unless `public`. `version` is the version of the interface that is described.
    """

    name = "openapi"

    def __init__(
        self,
        path: str = "/openapi.json",
        docs: str = "/docs",
        *,
        public: bool = False,
        version: str = "1.0.0",
    ) -> None:
        self.path = path
        self.docs = docs.rstrip("/")
        self.public = public
        self.version = version
        self._files = files(__package__).joinpath("static")
        self._made: dict[str, bytes] = {}

    def mount(self, host: Host, router: Router) -> list[str]:
        """Adds the routes of the document and its pages."""
        self._made.clear()
        routes = {
            self.path: self._guarded(host, self._document(host)),
            self.docs: self._guarded(host, self._page(host)),
            f"{self.docs}/{{key}}": self._asset,
            PROBLEMS_PATH: self._problems,
        }
        faults = []
        for path, endpoint in routes.items():
            taken = router.add(path, ["GET"], endpoint, "the API description")
            if taken:
                faults.append(f"The API description and {taken} both answer {path}; see OpenApi(path=…, docs=…).")
        return faults

    def document(self, host: Host) -> dict[str, Any]:
        """The OpenAPI 3.1.1 document of an application, as data that JSON can hold."""
        return make_document(host, version=self.version)

    def _guarded(self, host: Host, endpoint: Endpoint) -> Endpoint:
        async def guarded(scope: Scope, receive: Receive, send: Send, keys: tuple[str, ...]) -> None:
            headers = read_headers(scope)
            is_inside = host.mode == "dev" or is_local(scope, headers)
            if self.public or (is_inside and not is_of_others(scope, headers)):
                await endpoint(scope, receive, send, keys)
            else:
                await _refuse(scope, send, Forbidden(_LOCAL_ONLY))

        return guarded

    def _document(self, host: Host) -> Endpoint:
        async def document(scope: Scope, receive: Receive, send: Send, _: tuple[str, ...]) -> None:
            root: str = scope.get("root_path", "")
            if root not in self._made:
                made = make_document(host, version=self.version, root_path=root)
                self._made = {root: msgspec.json.encode(made)}
            await send_file(scope, send, "openapi.json", self._made[root])

        return document

    def _page(self, host: Host) -> Endpoint:
        page = self._read("index.html").replace(b"{path}", self._relative().encode())

        async def show(scope: Scope, receive: Receive, send: Send, _: tuple[str, ...]) -> None:
            if scope["path"].endswith("/"):  # the page's own links are relative to an address without it
                target = scope["path"].rstrip("/").rpartition("/")[2]
                await send_response(send, 308, [(b"location", f"../{target}".encode())])
                return
            await send_file(scope, send, "index.html", page.replace(b"{docs}", self.docs.rpartition("/")[2].encode()))

        return show

    async def _asset(self, scope: Scope, receive: Receive, send: Send, keys: tuple[str, ...]) -> None:
        if keys[0] == "problems":
            await self._problems(scope, receive, send, keys)
        elif keys[0] in _ASSETS:
            await send_file(scope, send, keys[0], self._read(keys[0]))
        else:
            await _refuse(scope, send, NotFound("There is nothing at this address."))

    async def _problems(self, scope: Scope, receive: Receive, send: Send, _: tuple[str, ...]) -> None:
        page = self._read("problems.html").replace(b"{problems}", as_html().encode())
        style = "../" * (PROBLEMS_PATH.count("/") - 1) + self.docs.strip("/")
        await send_file(scope, send, "problems.html", page.replace(b"{docs}", style.encode()))

    def _relative(self) -> str:
        """The document's address, as seen from the page."""
        return "../" * (self.docs.count("/") - 1) + self.path.lstrip("/")

    def _read(self, name: str) -> bytes:
        return self._files.joinpath(name).read_bytes()


async def _refuse(scope: Scope, send: Send, problem: Problem) -> None:
    await send_problem(scope, send, problem, new_request_id())
