"""REST: resources and handlers over HTTP, in the style that an experienced API user expects today."""

from crudite.interfaces.base import Host, Router
from crudite.interfaces.rest.handlers import HandlerEndpoints
from crudite.interfaces.rest.resources import ResourceEndpoints
from crudite.resources.definition import Definition, Definitions

_ITEM_METHODS = ("GET", "PUT", "PATCH", "DELETE")


class Rest:
    """The REST interface, below `prefix` (such as `/v1`; the root of the application when empty)."""

    name = "rest"

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix.rstrip("/")

    def mount(self, host: Host, router: Router) -> list[str]:
        """Adds the routes of every resource and handler."""
        faults: list[str] = []
        for definition in host.definitions:
            for chain in paths_to(definition, host.definitions):
                faults += self._mount_resource(host, router, definition, chain)
        for handler in host.handlers.values():
            endpoints = HandlerEndpoints(host, handler)
            taken = router.add(f"{self.prefix}/{handler.name}", [endpoints.method], endpoints.call, handler.name)
            if taken:
                faults.append(f"The handler {handler.name!r} and {taken} both answer {self.prefix}/{handler.name}.")
        return faults

    def _mount_resource(
        self, host: Host, router: Router, definition: Definition, chain: tuple[Definition, ...]
    ) -> list[str]:
        endpoints = ResourceEndpoints(host, definition, chain)
        base = self.prefix + "".join(f"/{parent.path}/{{key}}" for parent in chain) + f"/{definition.path}"
        owner = definition.name
        routes = [
            (base, ("GET", "POST", "QUERY"), endpoints.collection),
            (f"{base}/query", ("POST",), endpoints.query),
            (f"{base}/{{key}}", _ITEM_METHODS, endpoints.item),
        ]
        taken = [(path, router.add(path, methods, endpoint, owner)) for path, methods, endpoint in routes]
        return [f"{owner} and {other} both answer {path}; give one of them a path=." for path, other in taken if other]


def paths_to(definition: Definition, definitions: Definitions) -> list[tuple[Definition, ...]]:
    """The chains of parents under which a resource is found: () at the top, (projects,) below a project."""
    chains: list[tuple[Definition, ...]] = [] if definition.only_nested else [()]
    for name in definition.parents:
        reference = definition.schema.fields[name].reference
        assert reference is not None
        parent = definitions.by_name[reference.target]
        if parent is definition:
            continue
        above = paths_to(parent, definitions)
        chains += [(*chain, parent) for chain in above if definition not in chain]
    return chains


__all__ = ["Rest", "paths_to"]
