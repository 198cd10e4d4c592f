"""Which application is meant, and loading it: from a file, a module, or what lies in the folder."""

import asyncio
import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Literal
from urllib.parse import quote

from crudite.app import App
from crudite.cli.failures import Failure
from crudite.errors import BusError, DeclarationError, StoreError
from crudite.stores import open_store
from crudite.stores.base import Store

_GIVE = "Give a file, such as `todo.py`, or a module, such as `shop.main:app`; or set CRUDITE_APP."
_MAKES_APP = re.compile(r"^\s*(\w+\s*=\s*)?(crudite\.)?App\(", re.MULTILINE)


@dataclass(frozen=True)
class Target:
    """An application as it was named: a file or a dotted module, and the name in it, if one was given."""

    file: Path | None
    module: str
    attribute: str | None = None

    @property
    def shown(self) -> str:
        """How a person would name it."""
        return _relative(self.file) if self.file is not None else self.module

    @property
    def name(self) -> str:
        """What names it to this program, wherever that is."""
        named = str(self.file) if self.file is not None else self.module
        return f"{named}:{self.attribute}" if self.attribute is not None else named

    @property
    def folder(self) -> Path:
        """The folder that its code lies in, as far as the name tells."""
        return _import_root(self.file)[0] if self.file is not None else Path.cwd()

    @property
    def default_store(self) -> str:
        """The URL of the database that is used when nothing else is said: `todo.db` beside `todo.py`."""
        name = f"{self.module.split('.')[-1]}.db"
        return sqlite_url((self.file.parent if self.file is not None else Path.cwd()) / name)


def find(text: str | None) -> Target:
    """The target that is named, or, without a name, the one of CRUDITE_APP, `app.py`, or the only file here
    that makes an App. Raises Failure."""
    text = text or os.environ.get("CRUDITE_APP")
    if not text:
        return _find_here(Path.cwd())
    name, attribute = _split(text)
    path = Path(name)
    if path.is_dir():
        target = _find_here(path.resolve())
        return Target(target.file, target.module, attribute)
    if path.is_file():
        return Target(path.resolve(), path.stem, attribute)
    if path.suffix == ".py" or os.sep in name or not all(part.isidentifier() for part in name.split(".")):
        raise Failure(f"there is no file {name}.", _similar(path))
    return Target(None, name, attribute)


def load(target: Target, *, mode: Literal["run", "dev"] | None = None, store: str | None = None) -> App:
    """Imports the target and returns its application, not started yet.

    `store` is a URL or the path of a SQLite file, and wins over what the application says. Raises Failure,
    DeclarationError for what the application declares, and StoreError or BusError for a URL that it is given.
    """
    wanted = {"CRUDITE_STORE": os.environ.get("CRUDITE_STORE") or target.default_store}
    if mode is not None:
        wanted["CRUDITE_MODE"] = mode
    with _environment(wanted):
        module = _import(target)
    app = _pick(module, target)
    if store is not None:
        app.store = open_store(store_url(store))
    return app


def store_url(text: str) -> str:
    """The URL of a store; a path is one of a SQLite file."""
    return text if re.match(r"[a-z]{2,}:", text) else sqlite_url(Path(text).resolve())


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file."""
    return f"sqlite:///{quote(str(path))}"


def expect_database(store: Store) -> None:
    """Raises Failure when there is no database yet: who only looks at one makes none."""
    if not asyncio.run(store.exists()):
        raise Failure(f"there is no database {store.shown} yet.", "`crudite dev` and `crudite run` make it.")


def _split(text: str) -> tuple[str, str | None]:
    name, colon, attribute = text.rpartition(":")
    return (name, attribute) if colon and len(name) > 1 and attribute.isidentifier() else (text, None)


def _find_here(folder: Path) -> Target:
    if (folder / "app.py").is_file():
        return Target(folder / "app.py", "app")
    found = [path for path in sorted(folder.glob("*.py")) if _makes_app(path)]
    if len(found) == 1:
        return Target(found[0], found[0].stem)
    if not found:
        raise Failure(f"no application was found in {folder}.", _GIVE)
    names = ", ".join(path.name for path in found)
    raise Failure(f"several files make an App: {names}.", "Say which one is meant.")


def _makes_app(path: Path) -> bool:
    return _MAKES_APP.search(path.read_text("utf-8", errors="replace")) is not None


def _similar(path: Path) -> str:
    there = [one.name for one in path.parent.glob("*.py")] if path.parent.is_dir() else []
    near = get_close_matches(path.name, there, 1) or get_close_matches(f"{path.name}.py", there, 1)
    return f"Did you mean {path.parent / near[0]}?" if near else _GIVE


def _import(target: Target) -> ModuleType:
    try:
        if target.file is not None:
            return _import_file(target.file)
        sys.path.insert(0, str(Path.cwd()))
        return importlib.import_module(target.module)
    except (DeclarationError, StoreError, BusError, Failure):
        raise
    except ModuleNotFoundError as error:
        if target.file is None and error.name is not None and f"{target.module}.".startswith(f"{error.name}."):
            raise Failure(f"there is no module {error.name}.", _GIVE) from error
        raise Failure(_of_their_own(error, target)) from error
    except Exception as error:
        raise Failure(_of_their_own(error, target)) from error


def _import_file(file: Path) -> ModuleType:
    root, name = _import_root(file)
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    if "." in name:
        return importlib.import_module(name)
    while name in sys.modules or name in sys.stdlib_module_names:
        name += "_"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise Failure(f"{_relative(file)} is no Python file.", _GIVE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import_root(file: Path) -> tuple[Path, str]:
    """The folder that a file is imported from, and its dotted name there."""
    parts, folder = [file.stem], file.parent
    while (folder / "__init__.py").exists():
        parts.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(parts)


def _of_their_own(error: Exception, target: Target) -> str:
    """An error of the application's own code, with its traceback from there on."""
    trace = error.__traceback__
    ours = (__file__, importlib.__file__)
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name not in ours and "importlib" not in name:
            break
        trace = trace.tb_next
    text = "".join(traceback.format_exception(type(error), error, trace, chain=False)).rstrip()
    return f"{target.shown} could not be imported.\n{text}"


def _pick(module: ModuleType, target: Target) -> App:
    made = [name for name, value in vars(module).items() if isinstance(value, App)]
    names = [target.attribute] if target.attribute is not None else ["app"] if "app" in made else made
    if len(names) == 1:
        found = getattr(module, names[0], None)
        if isinstance(found, App):
            return found
        what = "no App" if hasattr(module, names[0]) else "not there"
        hint = f"It has {', '.join(made)}." if made else "An application is made by `app = App(…)`."
        raise Failure(f"{target.shown}: {names[0]} is {what}.", hint)
    if not made:
        raise Failure(f"{target.shown} makes no App.", "An application is made by `app = App(…)`.")
    raise Failure(f"{target.shown} has several: {', '.join(made)}.", f"Say which: {target.shown}:{made[0]}")


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _relative(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
