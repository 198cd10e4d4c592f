"""What a class and its bases declare, put together: fields with their resolved annotations, links, options,
hooks."""

import dataclasses
import inspect
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from difflib import get_close_matches
from typing import Any, TypeVar, cast, get_args, get_origin

from typing_extensions import get_type_hints

from crudite.messages import ACTIONS, ActionName
from crudite.resources.declaring.collect import (
    SYSTEM_FIELDS,
    Declaration,
    HookKind,
    HookMark,
    annotations_of,
    declared_classes,
    hook_marks,
    is_class_variable,
)
from crudite.resources.declaring.declare import Record
from crudite.resources.declaring.fields import ABSENT, FieldOptions, ManyOf
from crudite.resources.hooks import Hook
from crudite.schema import DELETED_AT

_OWN_OPTIONS = ("path", "places", "renamed_from")
_OF_LINKS = frozenset(("by", "through", "to", "settable", "include", "title", "description", "examples"))
_OF_FIELDS: tuple[ActionName, ...] = ("read", "update")
_WRITES: tuple[ActionName, ...] = ("create", "replace", "update", "delete")
_TRUTHS = ("unique", "index", "immutable", "checked", "settable", "include")
_OURS = ("id", *SYSTEM_FIELDS, "where")
"""What no method or property of a class may be called; of fields it is said elsewhere."""
_MEANT = {"self": ("self", "cls"), "cls": ("self", "cls"), "request": ("request",), "old": ("old",), "next": ("next",)}


@dataclass(slots=True)
class Gathered:
    """One class, with everything that it inherits. `faults` are sentences; a field that has one is in
    `broken` and not in `annotations`."""

    cls: type[Any]
    annotations: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, FieldOptions] = field(default_factory=dict)
    links: dict[str, ManyOf] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    hooks: dict[tuple[HookKind, ActionName], tuple[Hook, ...]] = field(default_factory=dict)
    field_hooks: dict[tuple[ActionName, str], tuple[Hook, ...]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    @property
    def by_us(self) -> tuple[str, ...]:
        """The fields, besides the key, that nobody writes."""
        return (*SYSTEM_FIELDS, DELETED_AT) if self.options.get("soft_delete") else SYSTEM_FIELDS

    @property
    def name(self) -> str:
        """The name of the class."""
        return self.cls.__name__

    def fault(self, name: str, text: str) -> None:
        """Notes what is wrong with a field; it is left out from here on."""
        self.faults.append(sentence(f"{self.name}.{name}: {text}"))
        self.broken.add(name)
        self.annotations.pop(name, None)
        self.links.pop(name, None)


def gather(cls: type[Any], resources: Mapping[str, type[Any]], provide: Collection[Any] = ()) -> Gathered:
    """All that a class declares, given the application's resources by name, and the types that hooks are given."""
    found = Gathered(cls)
    hooks: dict[str, tuple[Hook, tuple[HookMark, ...]]] = {}
    for base in declared_classes(cls):
        declaration: Declaration = base.__declaration__
        own = base is cls
        found.options.update({n: v for n, v in declaration.options.items() if own or n not in _OWN_OPTIONS})
        surroundings = _namespace(base, declaration, resources)
        for name, (function, marks) in declaration.hooks.items():
            hook = _hook(found, function, marks, surroundings, provide)
            if hook is not None:
                hooks[name] = hook, marks
        for name in declaration.unknown:
            known = list(inspect.signature(Record.__init_subclass__).parameters)[:-1]  # the last are those unknown
            text = f"{base.__name__}: there is no class keyword {name!r}{nearest(name, known)}"
            found.faults.append(f"{sentence(text)} There are {', '.join(sorted(known))}.")
        for name in [n for n in _OURS if n in vars(base)] if base is not Record else ():
            found.faults.append(f"{base.__name__}.{name}: every record has this; call it otherwise.")
        for name in declaration.stray:
            found.faults.append(f"{base.__name__}.{name}: a field needs an annotation, such as {name}: str.")
        for name in ("live", "only_nested"):
            if not isinstance(given := declaration.options.get(name, True), bool):
                found.faults.append(f"{base.__name__}: {name} is True or False, not {given!r}.")
        _annotated(found, base, declaration, surroundings)
    _key(found)
    _deleted_at(found)
    _alike(found)
    _hooks(found, hooks.values())
    return found


def sentence(text: str) -> str:
    """The text with a full stop, unless it ends with a mark of its own."""
    return text if text.endswith(("?", ".")) else f"{text}."


def nearest(name: str, known: Iterable[str]) -> str:
    """A question for the name that was meant, to be put behind a sentence; nothing when none is near."""
    near = get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _annotated(found: Gathered, base: type[Any], declaration: Declaration, surroundings: dict[str, Any]) -> None:
    for name, annotation in declaration.annotations.items():
        if is_class_variable(annotation):
            continue
        found.fields[name] = declaration.fields[name]
        wrong = _name_fault(name) if base is not Record else None
        if wrong is not None:
            found.fault(name, wrong)
            continue
        try:
            resolved = _resolved(annotation, surroundings)
        except NameError as error:
            known = [n for n in surroundings if not n.startswith("_")]
            found.fault(name, f"there is no {error.name!r}{nearest(str(error.name), known)}")
            continue
        except Exception as error:  # an annotation is the application's code
            found.fault(name, f"the annotation cannot be read: {error}")
            continue
        if isinstance(resolved, ManyOf):
            found.links[name] = replace(resolved, by=declaration.fields[name].by or resolved.by)
            _check_link(found, name, declaration.fields[name])
        else:
            found.annotations[name] = resolved
            _check_options(found, name, declaration.fields[name])


def _namespace(base: type[Any], declaration: Declaration, resources: Mapping[str, type[Any]]) -> dict[str, Any]:
    """What the names in annotations mean: the surroundings of the class, then the application's resources.

    Where the surroundings hold another class of the same name that the application does not have (a module
    may declare several applications), the application's own is meant.
    """
    module = sys.modules.get(base.__module__)
    around = {**vars(module), **declaration.names} if module is not None else dict(declaration.names)
    own = set(resources.values())
    for name, resource in resources.items():
        there = around.get(name, ABSENT)
        if there is ABSENT or (isinstance(there, type) and issubclass(there, Record) and there not in own):
            around[name] = resource
    around.setdefault(base.__name__, base)
    return around


def _resolved(annotation: Any, surroundings: dict[str, Any]) -> Any:
    if isinstance(annotation, ManyOf):
        return replace(annotation, target=_resolved(annotation.target, surroundings))
    holder = type("Holder", (), {"__annotations__": {"it": annotation}})
    resolved = get_type_hints(holder, globalns=surroundings, localns={}, include_extras=True)["it"]
    return _resolved(resolved, surroundings) if isinstance(resolved, ManyOf) else resolved


def _name_fault(name: str) -> str | None:
    if name in SYSTEM_FIELDS:
        return "every record has this field; it cannot be declared"
    if name == "where":
        return "`where` is the one reserved name, since Task.where(…) makes a query; call the field otherwise"
    if "__" in name:
        return "two underscores join the names of a path, so a field's name cannot hold them"
    return "a field's name starts with a letter" if name.startswith("_") else None


def _check_options(found: Gathered, name: str, options: FieldOptions) -> None:
    if options.default is not ABSENT and options.default_factory is not None:
        found.fault(name, "it has a default and a default_factory; give one")
    elif hook_marks(options.default):
        found.fault(name, "a method has the same name; call one of them otherwise")
    elif wrong := [one for one in _TRUTHS if not isinstance(getattr(options, one), bool)]:
        found.fault(name, f"{wrong[0]} is True or False, not {getattr(options, wrong[0])!r}")
    elif options.by is not None or options.through is not None or options.to is not None or options.settable:
        found.fault(name, "`by`, `through`, `to` and `settable` are for Many and One only")


def _check_link(found: Gathered, name: str, options: FieldOptions) -> None:
    """A rule, or whatever else a link does not have, must not seem to hold."""
    without = FieldOptions()
    others = {one.name for one in dataclasses.fields(FieldOptions)} - _OF_LINKS
    given = [one for one in others if getattr(options, one) != getattr(without, one)]
    named = sorted({*given, *options.constraints} - {"constraints"})
    if named:
        text = " and ".join(f"`{one}`" for one in named)
        found.fault(
            name, f"{text} would do nothing for a link; say it of the field that points here, or in rules there"
        )


def _key(found: Gathered) -> None:
    """Puts the type of the key in place of the parameter of `Record[K]`."""
    if not isinstance(found.annotations.get("id"), TypeVar):
        return
    for base in found.cls.__mro__:
        for original in vars(base).get("__orig_bases__", ()):
            if get_origin(original) is Record and not isinstance(get_args(original)[0], TypeVar):
                found.annotations["id"] = get_args(original)[0]
                return
    found.fault("id", "the class says which type its key has: Record[str], Record[int], or Resource for a UUID")


def _deleted_at(found: Gathered) -> None:
    """Gives the records of a resource that keeps deleted ones the field that says so."""
    if DELETED_AT not in found.by_us:
        return
    if DELETED_AT in found.fields:
        found.fault(DELETED_AT, "with soft_delete every record has this field; it cannot be declared")
    else:
        found.annotations[DELETED_AT], found.fields[DELETED_AT] = datetime | None, FieldOptions()


def _alike(found: Gathered) -> None:
    """Refuses names that differ in capitals alone: a database takes them for one."""
    names: dict[str, str] = {}
    for name in list(found.annotations):
        other = names.setdefault(name.lower(), name)
        if other != name:
            found.fault(name, f"it differs from {other!r} in capitals alone, which a database does not tell apart")


def _hook(
    found: Gathered, function: Any, marks: Sequence[HookMark], surroundings: dict[str, Any], provide: Collection[Any]
) -> Hook | None:
    """The hook that a function is; None for one with a parameter that nothing can be given for."""
    kinds = {
        name: _kind(annotation, surroundings)
        for name, annotation in annotations_of(function).items()
        if name != "return"
    }
    injected = {name: kind for name, kind in kinds.items() if any(kind is one for one in provide)}
    where = f"{found.name}.{function.__name__}"
    if bare := [mark.kind for mark in marks if mark.is_bare]:
        found.faults.append(f"{where}: @{bare[0]} is written with parentheses, such as @{bare[0]}('create').")
        return None
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        found.faults.append(f"{where}: it says `yield`, so it is a generator, and nothing of it would be run.")
        return None
    try:
        if strangers := [name for name, kind in kinds.items() if name not in injected and _is_strange(kind, found)]:
            raise ValueError(strangers[0])
        hook = Hook.of(function, injected)
    except ValueError as stray:
        found.faults.append(
            f"{where}: nothing is given for {str(stray)!r}: a hook takes the record, the "
            "request and the old record (or, around, what comes next), and what App(provide=…) has a type for."
        )
        return None
    found.faults.extend(f"{where}: {text}" for text in dict.fromkeys(_misplaced(found, hook, kinds, marks)))
    return hook


def _misplaced(found: Gathered, hook: Hook, kinds: Mapping[str, Any], marks: Sequence[HookMark]) -> Iterator[str]:
    """What is wrong with parameters that are called, or annotated, as something else than they would be given."""
    own = [name for name in inspect.signature(hook.function).parameters if name not in hook.injected]
    for mark in marks:
        is_around = mark.kind == "around"
        order = ("cls", "request", "next") if is_around else ("self", "request", "old")
        given = order[3 - len(own) :] if is_around else order[: len(own)]
        for name, one in zip(own, given, strict=True):
            meant = _meant(found, name, kinds.get(name))
            if meant is not None and one not in meant:
                there = "the record" if one == "self" else "the old record" if one == "old" else f"`{one}`"
                yield f"{name!r} would be given {there}: @{mark.kind} takes ({', '.join(order)}), in this order."


def _meant(found: Gathered, name: str, kind: Any) -> tuple[str, ...] | None:
    """What a parameter may be given, by its annotation or its name; None when neither tells."""
    if isinstance(kind, type) and (kind.__module__, kind.__name__) == ("crudite.resources.request", "Request"):
        return ("request",)
    if found.cls in (kind, *get_args(kind)):
        return ("self", "old")
    return _MEANT.get(name)


def _kind(annotation: Any, surroundings: dict[str, Any]) -> Any:
    """What a parameter of a hook wants; None for what only type checkers can tell."""
    try:
        return _resolved(annotation, surroundings)
    except Exception:  # a name that is imported for type checkers alone
        return None


def _is_strange(kind: Any, found: Gathered) -> bool:
    """Whether a parameter wants something that is neither a record of this class nor ours, as the request is."""
    is_known = not isinstance(kind, type) or kind in (Any, type(None), *found.cls.__mro__)
    return not is_known and kind.__module__.partition(".")[0] != "crudite"


def _hooks(found: Gathered, declared: Iterable[tuple[Hook, tuple[HookMark, ...]]]) -> None:
    """Those for every action come before those for some."""
    every: dict[tuple[HookKind, ActionName], list[Hook]] = {}
    some: dict[tuple[HookKind, ActionName], list[Hook]] = {}
    for hook, marks in declared:
        for mark in marks:
            if mark.field is not None:
                _field_hook(found, hook, mark, mark.field)
                continue
            possible = _possible(found, mark.kind)
            _check_actions(found, hook.function.__name__, mark, possible)
            for action in possible:
                if action in mark.actions:
                    some.setdefault((mark.kind, action), []).append(hook)
                elif not mark.actions:
                    every.setdefault((mark.kind, action), []).append(hook)
    found.hooks = {place: (*every.get(place, ()), *some.get(place, ())) for place in (every | some)}


def _field_hook(found: Gathered, hook: Hook, mark: HookMark, name: str) -> None:
    """Those around a field at its own path."""
    where = f"{found.name}.{hook.function.__name__}: @around(…, field={name!r})"
    if name not in found.annotations and name not in found.broken:
        found.faults.append(sentence(f"{where} names no field{nearest(name, found.annotations)}"))
    for action in mark.actions:
        if action not in _OF_FIELDS:
            found.faults.append(f"{where} is for 'read' and 'update', not for {action!r}.")
    for one in mark.actions or _OF_FIELDS:
        place = (cast(ActionName, one), name)
        found.field_hooks[place] = (*found.field_hooks.get(place, ()), hook)


def _possible(found: Gathered, kind: HookKind) -> tuple[ActionName, ...]:
    """The actions that have hooks of a kind."""
    actions = ACTIONS if kind == "around" else _WRITES
    return (*actions, "restore") if DELETED_AT in found.by_us else actions


def _check_actions(found: Gathered, name: str, mark: HookMark, possible: tuple[ActionName, ...]) -> None:
    for action in mark.actions:
        if action in possible:
            continue
        if action in ACTIONS:
            text = f"@{mark.kind} is for what writes; to {action} is @around({action!r})'s"
        else:
            hint = nearest(str(action), possible) or f"; there are {', '.join(possible)}"
            text = f"there is no action {action!r}{hint}"
        found.faults.append(sentence(f"{found.name}.{name}: {text}"))
