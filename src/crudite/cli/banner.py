"""The first lines of a server: what is served where, and what is worth knowing before the first request."""

from collections.abc import Sequence

import typer

from crudite.app import App
from crudite.cli.routes import lacks_rules, routes_of

_MOST = 6
_NAMES = {
    "rest": "REST",
    "sse": "live (SSE)",
    "websocket": "WebSocket",
    "browser": "client",
    "openapi": "docs",
}


def dev_banner(app: App, shown: str, url: str, version: str) -> None:
    """Says where everything is."""
    typer.secho(f"Crudite {version} serves {shown} for development at ", nl=False)
    typer.secho(url, bold=True)
    typer.echo()
    for title, places in _places(app):
        base = url.replace("http", "ws", 1) if title == "WebSocket" else url
        more = f"  and {len(places) - _MOST} more: crudite routes" if len(places) > _MOST else ""
        typer.secho(f"  {title:<12}", nl=False, dim=True)
        typer.echo("  ".join([base + places[0], *places[1:_MOST]]) + more)
    typer.secho(f"  {'database':<12}", nl=False, dim=True)
    typer.echo(app.store.shown)
    typer.echo()
    typer.echo("Restarts when a Python file changes; Ctrl-C ends it.")


def run_banner(app: App, shown: str, url: str, version: str, workers: int = 1) -> None:
    """Says what runs, and which resources nobody can reach."""
    how = f", {workers} workers" if workers > 1 else ""
    typer.echo(f"Crudite {version} serves {shown} at {url}, database {app.store.shown}{how}. Ctrl-C ends it.")
    closed = [definition.name for definition in app.definitions if lacks_rules(definition)]
    if closed:
        typer.secho(f"Nobody may use {', '.join(closed)}: give it rules=…, such as allow.everyone.", fg="yellow")


def _places(app: App) -> Sequence[tuple[str, list[str]]]:
    """The title of each interface and the paths that a person starts from."""
    found: dict[str, list[str]] = {}
    for route in routes_of(app):
        is_entry = route.method in ("GET", "WS") and "{" not in route.path
        if route.interface == "sse" and route.owner not in app.definitions.by_name:
            is_entry = is_entry and route.owner in app.handlers
        if route.interface == "openapi":  # its page comes with a document, scripts and styles
            is_entry = is_entry and "." not in route.path and not found.get("openapi")
        if is_entry or (route.interface == "rest" and route.owner in app.handlers):
            places = found.setdefault(route.interface, [])
            if route.path not in places:
                places.append(route.path)
    return [(_NAMES.get(name, name), places) for name, places in found.items()]
