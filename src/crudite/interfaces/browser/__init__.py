"""The browser client, served at `/crudite.js`: one ES module without a build step."""

from importlib.resources import files

from crudite.interfaces.base import Host, Receive, Router, Scope, Send
from crudite.interfaces.files import send_file


class Browser:
    """Serves the browser client."""

    name = "browser"

    def __init__(self, path: str = "/crudite.js") -> None:
        self.path = path
        self._module = files(__package__).joinpath("crudite.js").read_bytes()

    def mount(self, host: Host, router: Router) -> list[str]:
        """Adds the route of the module."""
        taken = router.add(self.path, ["GET"], self._serve, "the browser client")
        return [f"The browser client and {taken} both answer {self.path}."] if taken else []

    async def _serve(self, scope: Scope, receive: Receive, send: Send, _: tuple[str, ...]) -> None:
        await send_file(scope, send, "crudite.js", self._module)
