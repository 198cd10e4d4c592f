"""The application that is meant is found, or it is said what is in the way."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crudite import DeclarationError
from crudite.cli.failures import Failure
from crudite.cli.target import Target, find, load, store_url

APP = "from crudite import App, Resource\nclass Note(Resource):\n    text: str\n{name} = App(Note)\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CRUDITE_APP", raising=False)
    monkeypatch.delenv("CRUDITE_STORE", raising=False)
    monkeypatch.delenv("CRUDITE_MODE", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def write(folder: Path, name: str, content: str = APP.format(name="app")) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def test_a_file_is_found_with_and_without_the_name_of_its_app(folder: Path) -> None:
    path = write(folder, "todo.py")
    assert find("todo.py") == Target(path, "todo", None)
    assert find("todo.py:other") == Target(path, "todo", "other")


def test_without_a_name_it_is_app_py_even_beside_others(folder: Path) -> None:
    write(folder, "other.py")
    path = write(folder, "app.py")
    assert find(None).file == path


def test_without_app_py_it_is_the_only_file_that_makes_an_app(folder: Path) -> None:
    write(folder, "helper.py", "x = 1\n")
    path = write(folder, "shop.py")
    assert find(None).file == path


def test_several_files_that_make_an_app_are_named(folder: Path) -> None:
    write(folder, "a.py")
    write(folder, "b.py")
    with pytest.raises(Failure, match=r"several files make an App: a.py, b.py"):
        find(None)


def test_the_environment_names_the_app(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "app.py")
    monkeypatch.setenv("CRUDITE_APP", "shop.main:site")
    assert find(None) == Target(None, "shop.main", "site")


def test_an_unknown_file_is_refused_with_the_nearest_name(folder: Path) -> None:
    write(folder, "todo.py")
    with pytest.raises(Failure) as caught:
        find("tudo.py")
    assert caught.value.hint == "Did you mean todo.py?"


def test_the_database_lies_beside_the_file_and_is_called_as_it(folder: Path) -> None:
    write(folder, "sub/todo.py")
    app = load(find("sub/todo.py"))
    assert getattr(app.store, "path", None) == str(folder / "sub" / "todo.db")


def test_a_store_that_is_asked_for_wins_over_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "todo.py")
    monkeypatch.setenv("CRUDITE_STORE", "sqlite:///env.db")
    assert getattr(load(find("todo.py")).store, "path", None) == "env.db"
    assert getattr(load(find("todo.py"), store="mine.db").store, "path", None) == str(folder / "mine.db")


def test_odd_characters_of_a_path_survive_the_url(folder: Path) -> None:
    write(folder, "todo.py")
    app = load(find("todo.py"), store="100% #1?.db")
    assert getattr(app.store, "path", None) == str(folder / "100% #1?.db")


def test_a_url_is_taken_as_it_is() -> None:
    assert store_url("postgresql://host/name") == "postgresql://host/name"


def test_only_development_opens_resources_without_rules(folder: Path) -> None:
    write(folder, "todo.py")
    assert load(find("todo.py"), mode="dev").mode == "dev"
    assert load(find("todo.py"), mode="run").mode == "run"


def test_a_file_in_a_package_is_imported_by_its_dotted_name(folder: Path) -> None:
    write(folder, "shop/__init__.py", "")
    write(folder, "shop/names.py", "TITLE = 'Shop'\n")
    path = write(folder, "shop/main.py", "from .names import TITLE\n" + APP.format(name="app"))
    load(find(str(path)))
    assert sys.modules["shop.main"].TITLE == "Shop"


def test_a_module_is_imported_from_the_working_folder(folder: Path) -> None:
    write(folder, "store/main.py", APP.format(name="site"))
    assert load(find("store.main:site")).definitions.by_name.keys() == {"Note"}


def test_a_file_may_be_called_as_a_module_of_python(folder: Path) -> None:
    write(folder, "calendar.py")
    assert load(find("calendar.py")).definitions.by_name.keys() == {"Note"}


def test_an_app_of_another_name_is_found_when_it_is_the_only_one(folder: Path) -> None:
    write(folder, "todo.py", APP.format(name="site"))
    load(find("todo.py"))


def test_of_several_apps_one_has_to_be_named(folder: Path) -> None:
    write(folder, "todo.py", APP.format(name="one") + "two = App(Note)\n")
    with pytest.raises(Failure, match=r"todo.py has several: one, two") as caught:
        load(find("todo.py"))
    assert caught.value.hint == "Say which: todo.py:one"


def test_a_file_without_an_app_is_refused(folder: Path) -> None:
    write(folder, "todo.py", "app = 1\n")
    with pytest.raises(Failure, match=r"todo.py: app is no App|todo.py makes no App"):
        load(find("todo.py"))


def test_an_error_of_the_file_is_shown_from_its_own_line_on(folder: Path) -> None:
    write(folder, "todo.py", "def broken():\n    return 1 / 0\n\nbroken()\n")
    with pytest.raises(Failure) as caught:
        load(find("todo.py"))
    text = str(caught.value)
    assert "ZeroDivisionError" in text
    assert 'todo.py", line 4' in text
    assert "importlib" not in text
    assert "target.py" not in text


def test_an_error_of_syntax_is_shown_with_its_line(folder: Path) -> None:
    write(folder, "todo.py", "app = App(\n")
    with pytest.raises(Failure, match=r'todo.py", line 1'):
        load(find("todo.py"))


def test_what_is_declared_wrong_stays_a_declaration_error(folder: Path) -> None:
    write(folder, "todo.py", "from crudite import App\napp = App(int)\n")
    with pytest.raises(DeclarationError):
        load(find("todo.py"))
