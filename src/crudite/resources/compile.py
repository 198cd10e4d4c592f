"""From classes to definitions: everything that `App(…)` checks about resources, with every fault at once."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, TypeAlias

import pydantic
from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

from crudite.errors import DeclarationError, Invalid
from crudite.messages import ActionName
from crudite.query.simplify import join
from crudite.query.tree import Filter, Symbol
from crudite.resources.annotations import nested_models
from crudite.resources.body import Body, BodyField, typed_dict
from crudite.resources.collect import SYSTEM_FIELDS, default_value
from crudite.resources.declare import Record
from crudite.resources.defaults import of_function, of_symbol
from crudite.resources.definition import BodyName, Codec, Definition, Definitions, MakeDefault
from crudite.resources.fields import ABSENT, FieldOptions
from crudite.resources.gather import Gathered, gather, nearest, sentence
from crudite.resources.names import path_of, table_of
from crudite.resources.rule_reader import RuleReader
from crudite.resources.shapes import Shape, key_type, read_annotation
from crudite.schema import NO_DEFAULT, Catalog, FieldSpec, FieldType, Link, Reference, ResourceSchema
from crudite.types import Plain

DEFAULT_LIMIT, DEFAULT_MAX_LIMIT = 50, 200

_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]*")


Narrow: TypeAlias = Callable[[str, ActionName], Filter]
"""What must hold, beside the rule of the resource at a path, for an action on it."""


def compile_resources(classes: Sequence[type[Any]], *, open: bool, narrow: Sequence[Narrow] = ()) -> Definitions:
    """The definitions of the classes of one application.

    `open` lets everyone do everything with a resource that declares no rules (for development); else nobody
    may. `narrow` is what every rule has besides. Raises DeclarationError with one sentence for every fault in any of
    the classes.
    """
    compiler = _Compiler(_checked_classes(classes), narrow)
    definitions = compiler.definitions(open=open)
    if compiler.faults:
        raise DeclarationError(list(dict.fromkeys(compiler.faults)))
    return definitions


def _checked_classes(classes: Sequence[type[Any]]) -> dict[str, type[Any]]:
    by_name: dict[str, type[Any]] = {}
    faults = []
    for cls in classes:
        if not (isinstance(cls, type) and issubclass(cls, Record)) or "__declaration__" not in vars(cls):
            faults.append(f"{cls!r} is no resource: give classes made of Resource or Record[…].")
        elif by_name.get(cls.__name__) is cls:
            faults.append(f"{cls.__name__} is given twice.")
        elif cls.__name__ in by_name:
            faults.append(f"Two resources are called {cls.__name__}.")
        else:
            by_name[cls.__name__] = cls
    if faults:
        raise DeclarationError(faults)
    return by_name


class _Compiler:
    """The compilation of one application; `faults` grows."""

    def __init__(self, classes: Mapping[str, type[Any]], narrow: Sequence[Narrow]) -> None:
        self.narrow = narrow
        self.gathered = {cls: gather(cls, classes) for cls in classes.values()}
        self.keys = {cls: self._key(found) for cls, found in self.gathered.items()}
        self.shapes = {cls: self._shapes(found) for cls, found in self.gathered.items()}
        self.static = {cls: self._static_defaults(found) for cls, found in self.gathered.items()}
        self.schemas = {cls: self._schema(found) for cls, found in self.gathered.items()}
        self.catalog = Catalog({schema.name: schema for schema in self.schemas.values()})
        broken = {name for found in self.gathered.values() for name in found.broken}
        self.rules = RuleReader(self.schemas, self.catalog, broken)

    @property
    def faults(self) -> list[str]:
        """Every fault, in the order of the classes."""
        return [fault for found in self.gathered.values() for fault in found.faults]

    def definitions(self, *, open: bool) -> Definitions:
        """The definitions; they mean nothing when there are faults."""
        self._check_places()
        return Definitions({cls: self._definition(found, open) for cls, found in self.gathered.items()}, self.catalog)

    def _key(self, found: Gathered) -> FieldType | None:
        try:
            return key_type(found.annotations["id"]) if "id" in found.annotations else None
        except ValueError as error:
            found.fault("id", str(error))
            return None

    def _key_of(self, target: Any) -> FieldType:
        if not isinstance(target, type) or not issubclass(target, Record):
            raise ValueError(f"it points at {target!r}, which is no resource")
        if target not in self.keys:
            raise ValueError(f"it points at {target.__name__}, which is not given to App(…)")
        return self.keys[target] or FieldType("uuid")

    def _shapes(self, found: Gathered) -> dict[str, Shape]:
        shapes = {}
        for name in list(found.annotations):
            options = found.fields[name]
            try:
                shape = read_annotation(found.annotations[name], options, self._key_of)
                _check_reference(shape, options)
                _check_visibility(shape, options)
                shapes[name] = shape
            except (ValueError, PydanticUserError, TypeError) as error:
                found.fault(name, str(error).split("\n")[0].rstrip("."))
        return shapes

    def _static_defaults(self, found: Gathered) -> dict[str, Plain]:
        """The plain defaults that are the same for every record."""
        shapes = self.shapes[found.cls]
        plain: dict[str, Plain] = {}
        for name, shape in shapes.items():
            options = found.fields[name]
            if options.default is ABSENT or isinstance(options.default, Symbol) or callable(options.default):
                continue
            if shape.is_password:
                found.fault(name, "a Password has no default")
                continue
            try:
                checked = Body(name, [_body_field(name, shape, False)]).parse_python({name: default_value(options)})
                plain[name] = checked[name]
            except Invalid as invalid:
                found.faults.append(f"{found.name}.{name}: the default is not valid: {invalid.faults[0].detail}")
        return plain

    def _schema(self, found: Gathered) -> ResourceSchema:
        shapes, name = self.shapes[found.cls], found.name
        rest = [n for n in shapes if n != "id" and n not in SYSTEM_FIELDS]
        order = [n for n in ("id", *rest, *SYSTEM_FIELDS) if n in shapes]
        fields = {n: self._field(found, n, shapes[n]) for n in order}
        key = FieldSpec("id", FieldType("uuid"))
        return ResourceSchema(
            name=name,
            path=str(found.options.get("path", path_of(name))),
            table=table_of(name),
            fields=fields if "id" in fields else {"id": key, **fields},
            links=self._links(found),
            unique=self._unique(found),
            logged=bool(found.options.get("live", True)),
            renamed_from=found.options.get("renamed_from"),
            search=self._search(found),
            history=self._history(found),
        )

    def _field(self, found: Gathered, name: str, shape: Shape) -> FieldSpec:
        options = found.fields[name]
        reference = None
        if shape.target is not None:
            reference = Reference(shape.target.__name__, shape.is_parent, options.checked, options.on_delete)
        if (options.unique or options.index) and shape.type.kind == "json":
            found.faults.append(f"{found.name}.{name}: JSON is neither unique nor indexed.")
        return FieldSpec(
            name=name,
            type=shape.type,
            nullable=shape.nullable,
            default=self.static[found.cls].get(name, NO_DEFAULT),
            unique=options.unique and name != "id",
            indexed=options.index,
            secret=options.visible == "secret" or shape.is_password,
            quiet=options.read is not None or options.visible == "private",
            reference=reference,
            renamed_from=options.renamed_from,
        )

    def _links(self, found: Gathered) -> dict[str, Link]:
        links = {}
        for name, many in list(found.links.items()):
            target = many.target
            if target not in self.shapes:
                shown = target.__name__ if isinstance(target, type) else repr(target)
                found.fault(name, f"it leads to {shown}, which is not given to App(…)")
                continue
            ways = [n for n, shape in self.shapes[target].items() if shape.target is found.cls]
            if many.by is not None and many.by in ways:
                ways = [many.by]
            elif many.by is not None:
                found.fault(
                    name,
                    f"{target.__name__}.{many.by} does not point here{nearest(many.by, ways)}",
                )
                continue
            if len(ways) == 1:
                links[name] = Link(name, target.__name__, ways[0])
            elif not ways:
                found.fault(name, f"no field of {target.__name__} points here, such as Ref[{found.name}]")
            else:
                found.fault(name, f"{' and '.join(ways)} of {target.__name__} point here: say Field(by={ways[0]!r})")
        return links

    def _unique(self, found: Gathered) -> tuple[tuple[str, ...], ...]:
        groups = []
        for group in found.options.get("unique", ()):
            if isinstance(group, str):
                found.faults.append(
                    f"{found.name}: unique holds groups of fields, such as unique=[('project', 'title')]; "
                    f"a single field says Field(unique=True)."
                )
                break
            names = self.shapes[found.cls]
            for name in group:
                if name not in names and name not in found.broken:
                    text = f"{found.name}: unique names {name!r}, which is no field{nearest(name, names)}"
                    found.faults.append(sentence(text))
                elif name in names and names[name].type.kind == "json":
                    found.faults.append(f"{found.name}: unique names {name!r}, which holds JSON.")
            groups.append(tuple(group))
        return tuple(groups)

    def _search(self, found: Gathered) -> tuple[str, ...]:
        given = found.options.get("search", ())
        if isinstance(given, str):
            found.faults.append(f"{found.name}: search holds names of fields, such as search=({given!r},).")
            return ()
        names = tuple(dict.fromkeys(given))
        for name in names:
            fault = self._not_searched(found, name)
            if fault:
                found.faults.append(sentence(f"{found.name}: search names {name!r}, {fault}"))
        return names

    def _history(self, found: Gathered) -> float | None:
        """For how many seconds changes are kept; None when nobody may see them."""
        rules, age = found.options.get("rules"), found.options.get("history")
        if not isinstance(rules, Mapping) or "history" not in rules:
            if age is not None:
                found.faults.append(
                    f"{found.name}: history says how long changes are kept, so rules must say who may see them: "
                    "rules={'history': …}."
                )
            return None
        if not found.options.get("live", True):
            found.faults.append(f"{found.name}: live=False logs no changes, so there is no history of them.")
        if age is None:
            return math.inf
        if not isinstance(age, timedelta) or age <= timedelta():
            found.faults.append(f"{found.name}: history is a time to keep changes for, such as timedelta(days=365).")
            return None
        return age.total_seconds()

    def _not_searched(self, found: Gathered, name: str) -> str:
        """Why nobody can search in a field; nothing when all who may read the records can."""
        shapes = self.shapes[found.cls]
        if name not in shapes:
            return "" if name in found.broken else f"which is no field{nearest(name, shapes)}"
        options, shape = found.fields[name], shapes[name]
        if options.visible == "secret" or shape.is_password:
            return "which is secret"
        if options.visible == "private" or options.read is not None:
            return "which not everybody may read who may read the record: what is found would tell what is in it"
        if shape.target is not None or shape.type.kind != "text":
            return "which is no text"
        return ""

    def _check_places(self) -> None:
        """No two resources have one path, table, or name of a component in the interface's documentation."""
        paths: dict[str, Gathered] = {}
        tables: dict[str, Gathered] = {}
        for cls, found in self.gathered.items():
            schema = self.schemas[cls]
            if not _PATH.fullmatch(schema.path):
                found.faults.append(f"{found.name}: path={schema.path!r} is not a single name in a URL.")
            if schema.table.startswith(("crudite_", "sqlite_")):
                found.faults.append(f"{found.name}: names that start with {schema.table[:7]!r} are ours; rename it.")
            other = paths.setdefault(schema.path, found)
            if other is not found:
                text = f"{other.name} and {found.name} both own the path /{schema.path}: give one of them path=…"
                found.faults.append(f"{text}.")
            elif tables.setdefault(schema.table, found) is not found:
                text = f"{tables[schema.table].name} and {found.name} both own the table {schema.table}"
                found.faults.append(f"{text}: rename one of them.")
        self._check_components()

    def _check_components(self) -> None:
        taken = {
            f"{found.name}{what}" for found in self.gathered.values() for what in ("", "Create", "Replace", "Update")
        }
        for found in self.gathered.values():
            for name, annotation in list(found.annotations.items()):
                for model in nested_models(annotation):
                    if model.__name__ in taken:
                        found.fault(
                            name,
                            f"{model.__name__} is the name of a resource or its body too; rename the model",
                        )

    def _definition(self, found: Gathered, open: bool) -> Definition:
        shapes, schema = self.shapes[found.cls], self.schemas[found.cls]
        parents = tuple(name for name, shape in shapes.items() if shape.is_parent)
        only_nested = bool(found.options.get("only_nested", False))
        if only_nested and not parents:
            found.faults.append(f"{found.name}: only_nested needs a parent, such as project: Parent[Project].")
        limit, max_limit = self._limits(found)
        rules = self.rules.of_actions(found, open=open)
        field_read = self.rules.of_fields(found, "read")
        whole, bodies = self._bodies(found)
        return Definition(
            cls=found.cls,
            schema=schema,
            parents=parents,
            only_nested=only_nested,
            rules={action: self._narrowed(schema, action, rule) for action, rule in rules.items()},
            field_read=field_read,
            field_write=self.rules.of_fields(found, "write"),
            immutable=frozenset(n for n in shapes if found.fields[n].immutable and n != "id"),
            defaults=self._defaults(found),
            static_defaults={n: v for n, v in self.static[found.cls].items() if not isinstance(v, list | dict)},
            hooks=found.hooks,
            limit=limit,
            max_limit=max_limit,
            bodies=bodies,
            whole=whole,
            shown=self._shown(found, field_read),
            passwords=tuple(name for name, shape in shapes.items() if shape.is_password),
            codecs=tuple(
                Codec(n, shapes[n].nullable, shapes[n].to_plain, shapes[n].from_plain)
                for n in schema.fields
                if n in shapes
            ),
        )

    def _narrowed(self, schema: ResourceSchema, action: ActionName, rule: Filter) -> Filter:
        beside = [narrow(schema.path, action) for narrow in self.narrow]
        return join((rule, *beside), either=False) if beside else rule

    def _limits(self, found: Gathered) -> tuple[int, int]:
        max_limit = found.options.get("max_limit", max(DEFAULT_MAX_LIMIT, found.options.get("limit", 0)))
        limit = found.options.get("limit", min(DEFAULT_LIMIT, max_limit))
        if not 1 <= limit <= max_limit:
            found.faults.append(f"{found.name}: limit={limit} lies between 1 and max_limit, which is {max_limit}.")
        return limit, max_limit

    def _defaults(self, found: Gathered) -> dict[str, MakeDefault]:
        makes: dict[str, MakeDefault] = {}
        for name, shape in self.shapes[found.cls].items():
            options = found.fields[name]
            if isinstance(options.default, Symbol):
                try:
                    makes[name] = of_symbol(options.default, shape.type)
                except ValueError as error:
                    found.faults.append(f"{found.name}.{name}: {error}.")
            elif options.default_factory is not None or callable(options.default):
                makes[name] = of_function(options.default_factory or options.default, shape)
            elif isinstance(self.static[found.cls].get(name), list | dict):
                makes[name] = of_function(lambda options=options: default_value(options), shape)  # type: ignore[misc]
        return makes

    def _bodies(self, found: Gathered) -> tuple[Body, dict[BodyName, Body]]:
        shapes = {n: shape for n, shape in self.shapes[found.cls].items() if n not in SYSTEM_FIELDS}
        links = self.schemas[found.cls].links
        static = self.static[found.cls]
        optional = [_body_field(n, shape, False) for n, shape in shapes.items()]
        create, replace = [], []
        for name, shape in shapes.items():
            required = _is_required(found.fields[name])
            made = shape.type.kind in ("uuid", "integer") or not required
            default = static.get(name, NO_DEFAULT)
            create.append(_body_field(name, shape, not made if name == "id" else required, default))
            replace.append(_body_field(name, shape, name != "id" and required, default))
        whole = Body(f"{found.name}Values", optional, links)
        return whole, {
            "create": Body(f"{found.name}Create", create, links),
            "replace": Body(f"{found.name}Replace", replace, links),
            "update": Body(f"{found.name}Update", optional, links, whole=whole),
        }

    def _shown(self, found: Gathered, restricted: Mapping[str, Filter]) -> TypeAdapter[Any]:
        schema, shapes = self.schemas[found.cls], self.shapes[found.cls]
        members = [
            (name, shapes[name].shown | None if spec.nullable else shapes[name].shown, name not in restricted)
            for name, spec in schema.fields.items()
            if name in shapes and not spec.secret
        ]
        return TypeAdapter(typed_dict(found.name, members))


def _check_reference(shape: Shape, options: FieldOptions) -> None:
    if shape.target is None and (not options.checked or options.on_delete != "restrict"):
        raise ValueError("`checked` and `on_delete` are for references only")
    if options.on_delete not in ("restrict", "cascade", "clear"):
        raise ValueError("on_delete is 'restrict', 'cascade' or 'clear'")
    if options.on_delete == "clear" and not shape.nullable:
        raise ValueError("on_delete='clear' makes it null, so it must allow null: `| None`")


def _check_visibility(shape: Shape, options: FieldOptions) -> None:
    if options.visible not in ("public", "private", "secret"):
        raise ValueError("visible is 'public', 'private' or 'secret'")
    if (options.visible == "secret" or shape.is_password) and options.read is not None:
        raise ValueError("it is secret, so nobody reads it and a rule for reading means nothing")


def _is_required(options: FieldOptions) -> bool:
    return options.default is ABSENT and options.default_factory is None


def _body_field(name: str, shape: Shape, is_required: bool, default: Plain = NO_DEFAULT) -> BodyField:
    annotation = shape.body | None if shape.nullable else shape.body
    if default is not NO_DEFAULT:
        annotation = Annotated[annotation, pydantic.Field(json_schema_extra={"default": default})]
    return BodyField(name, annotation, is_required, shape.convert, shape.is_object)
