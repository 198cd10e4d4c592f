"""One process of the application, as whoever writes to it sees it: by REST, or by the records API."""

from collections.abc import Sequence

from crudite import App, Problem
from crudite.testing import Client as Rest
from tests.model.held import Violation
from tests.model.places import Made
from tests.model.world import CLASSES


class Process:
    """An application and somebody of the staff, who may write everything."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.rest = Rest(app, token="staff")

    async def write(self, one: Made) -> tuple[bool, str | None]:
        """Writes by REST: whether it was done, and its mark if it has changed anything."""
        place = f"/{one.resource}/{one.key}"
        if one.action == "create":
            answer = await self.rest.post(f"/{one.resource}", {"id": one.key, **(one.values or {})})
        elif one.action == "update":
            answer = await self.rest.patch(place, one.values)
        else:
            answer = await self.rest.delete(place)
        return is_done(answer.status, answer.text), answer.headers.get("crudite-after")

    async def write_together(self, made: Sequence[Made]) -> bool:
        """Writes all or nothing, as the application's own code; whether it was done."""
        try:
            async with self.app.records.batch() as batch:
                for action, resource, key, values, _ in made:
                    cls = CLASSES[resource]
                    if action == "create":
                        batch.create(cls, id=key, **(values or {}))
                    elif action == "update":
                        batch.update(cls, key, **(values or {}))
                    else:
                        batch.delete(cls, key)
        except Problem as problem:
            return is_done(problem.status, str(problem))
        return True

    async def shows(self, one: Made) -> bool:
        """Whether a write has been done, by what is there now."""
        found = await self.rest.get(f"/{one.resource}/{one.key}")
        if one.action == "delete":
            return found.status == 404
        return found.status == 200 and all(found.json[name] == value for name, value in (one.values or {}).items())


def is_done(status: int, text: str) -> bool:
    """Whether a write was done, by the status of its answer; it may be refused. Raises Violation for a failure."""
    if status >= 500:
        raise Violation(f"a write failed with {status}: {text}")
    return status < 400
