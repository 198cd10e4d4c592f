"""What one class statement says, collected when it is run and resolved only when an application is made."""

import ast
import copy
import inspect
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias, get_args

from crudite.query.tree import Symbol
from crudite.resources.declaring.fields import ABSENT, FieldOptions, ManyOf, Special

HookKind: TypeAlias = Literal["before", "after", "around"]

SYSTEM_FIELDS = ("version", "created_at", "updated_at")
"""The fields, besides the key, that every record has and nobody writes."""


@dataclass(frozen=True, slots=True)
class HookMark:
    """What a decorator said about a method; `actions` are unchecked. One that `is_bare` was written without its
    parentheses."""

    kind: HookKind
    actions: tuple[str, ...]
    field: str | None = None
    is_bare: bool = False


@dataclass(slots=True)
class Declaration:
    """What one class statement says, unresolved. `names` are the names of its annotations, and of those of its hooks,
    that only its own surroundings know (the local names of a function). `unknown` are class keywords that there are
    not."""

    annotations: dict[str, Any]
    fields: dict[str, FieldOptions]
    stray: tuple[str, ...]
    hooks: dict[str, tuple[Any, tuple[HookMark, ...]]]
    options: dict[str, Any]
    names: dict[str, Any] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


def hook_marks(value: Any) -> tuple[HookMark, ...]:
    """What the decorators said about a function; nothing for anything else."""
    marks = getattr(unwrapped(value), "__crudite_hooks__", ())
    return marks if isinstance(marks, tuple) else ()


def default_value(options: FieldOptions) -> Any:
    """A Python value for a field that is not given; ABSENT when there is none before somebody asks."""
    if options.default_factory is not None:
        return options.default_factory()
    default = options.default
    if default is ABSENT or isinstance(default, Symbol):
        return ABSENT
    if callable(default):
        return default()
    return copy.deepcopy(default)


def declared_classes(cls: type[Any]) -> Iterator[type[Any]]:
    """The classes whose declarations make up a resource, the most basic first."""
    for base in reversed(cls.__mro__):
        if "__declaration__" in vars(base):
            yield base


def is_secret(annotation: Any, options: FieldOptions) -> bool:
    """Whether a field's value must never be shown, as far as its class statement tells."""
    return options.visible == "secret" or _mentions_password(annotation)


def collect(cls: type[Any], options: dict[str, Any], unknown: Iterable[str] = ()) -> Declaration:
    annotations = annotations_of(cls)
    fields: dict[str, FieldOptions] = {}
    for name, annotation in annotations.items():
        if is_class_variable(annotation):
            continue
        given = cls.__dict__.get(name, ABSENT)
        if inspect.ismemberdescriptor(given):
            given = ABSENT
        fields[name] = given if isinstance(given, FieldOptions) else FieldOptions(default=given)
        if given is not ABSENT:
            delattr(cls, name)
    members = dict(vars(cls))
    stray = tuple(n for n, v in members.items() if isinstance(v, FieldOptions | ManyOf) and n not in annotations)
    hooks = {name: (unwrapped(value), hook_marks(value)) for name, value in members.items() if hook_marks(value)}
    spoken = [one for of in (cls, *(function for function, _ in hooks.values())) for one in annotations_of(of).values()]
    return Declaration(annotations, fields, stray, hooks, options, _local_names(cls, spoken), tuple(unknown))


def constructor(cls: type[Any]) -> tuple[dict[str, FieldOptions], frozenset[str]]:
    defaults: dict[str, FieldOptions] = {}
    links: set[str] = set()
    for base in declared_classes(cls):
        declaration: Declaration = base.__declaration__
        for name, annotation in declaration.annotations.items():
            if is_link(annotation):
                links.add(name)
            elif not is_class_variable(annotation):
                defaults[name] = declaration.fields[name]
    return defaults, frozenset(links)


def is_link(annotation: Any) -> bool:
    """Whether an unresolved annotation is a `Many` or a `One`."""
    text = annotation.split("[")[0].rsplit(".")[-1] if isinstance(annotation, str) else ""
    return isinstance(annotation, ManyOf) or text in ("Many", "One")


def is_class_variable(annotation: Any) -> bool:
    """Whether an unresolved annotation is a `ClassVar`, which is no field."""
    text = annotation.split("[")[0].rsplit(".")[-1] if isinstance(annotation, str) else ""
    return text == "ClassVar" or annotation is ClassVar or getattr(annotation, "__origin__", None) is ClassVar


def annotations_of(declared: Any) -> dict[str, Any]:
    """The unresolved annotations of a class's own fields, or of a function's parameters."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return dict(annotationlib.get_annotations(declared, format=annotationlib.Format.FORWARDREF))
    found = vars(declared).get("__annotations__") if isinstance(declared, type) else declared.__annotations__
    return dict(found or {})


def _local_names(cls: type[Any], annotations: Iterable[Any]) -> dict[str, Any]:
    """The values of those names in the annotations that are local to the function the class is made in.

    They are looked up now, since nothing else will know them later; a name that is not there yet must be that
    of a resource, which the application knows.
    """
    if "<locals>" not in cls.__qualname__:
        return {}
    wanted = {name for annotation in annotations for name in _names_in(annotation)}
    frame = sys._getframe(2)  # noqa: SLF001 - the only way to the names around a class statement
    while frame.f_back is not None and frame.f_globals.get("__name__") != cls.__module__:
        frame = frame.f_back
    return {name: frame.f_locals[name] for name in wanted if name in frame.f_locals}


def _names_in(annotation: Any) -> Iterator[str]:
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__forward_arg__", None)
    if text is None:
        inner = (annotation.target,) if isinstance(annotation, ManyOf) else get_args(annotation)
        for part in inner:
            yield from _names_in(part)
        return
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from _names_in(node.value)


def is_needed(name: str, options: FieldOptions) -> bool:
    if name == "id" or name in SYSTEM_FIELDS:
        return False
    return options.default is ABSENT and options.default_factory is None


def is_shown(name: str, record: Any) -> bool:
    for base in declared_classes(type(record)):
        declaration: Declaration = base.__declaration__
        if name in declaration.fields and is_secret(declaration.annotations[name], declaration.fields[name]):
            return False
    return True


def _mentions_password(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return "Password" in set(_names_in(annotation))
    parts = get_args(annotation)
    return any((isinstance(part, Special) and part.name == "password") or _mentions_password(part) for part in parts)


def unwrapped(value: Any) -> Any:
    return value.__func__ if isinstance(value, classmethod | staticmethod) else value
