"""What is public is exported, sorted and documented."""

import inspect
from pathlib import Path

import crudite

PACKAGE = Path(crudite.__file__).parent


def public(owner: type) -> list[str]:
    """The names of the methods that a class itself defines for others to call."""
    return [
        name
        for name, value in vars(owner).items()
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))
    ]


def test_the_exports_are_sorted_unique_and_present() -> None:
    assert crudite.__all__ == sorted(set(crudite.__all__))
    assert [name for name in crudite.__all__ if not hasattr(crudite, name)] == []


def test_every_exported_class_and_function_says_what_it_does() -> None:
    exported = {name: getattr(crudite, name) for name in crudite.__all__}
    silent = [
        name
        for name, value in exported.items()
        if (inspect.isclass(value) or inspect.isfunction(value)) and not (value.__doc__ or "").strip()
    ]
    assert silent == []


def test_every_public_method_of_an_exported_class_says_what_it_does() -> None:
    classes = [value for name in crudite.__all__ if inspect.isclass(value := getattr(crudite, name))]
    ours = [owner for owner in classes if owner.__module__.startswith("crudite")]
    silent = [
        f"{owner.__name__}.{name}"
        for owner in ours
        for name in public(owner)
        if not inspect.getdoc(getattr(owner, name))
    ]
    assert silent == []


def test_every_module_opens_with_its_one_idea() -> None:
    silent = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if not path.read_text("utf-8").startswith('"""')
    ]
    assert silent == []


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()
