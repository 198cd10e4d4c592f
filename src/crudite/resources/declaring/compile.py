"""From classes to definitions: everything that `App(…)` checks about resources, with every fault at once."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias, get_args

from pydantic.errors import PydanticUserError

from crudite.errors import DeclarationError, Invalid
from crudite.messages import ActionName
from crudite.query.simplify import join
from crudite.query.tree import Filter, Symbol
from crudite.resources.declaring.bodies import bodies_of, body_field, shown_of
from crudite.resources.declaring.body import Body
from crudite.resources.declaring.cascades import cascades_of
from crudite.resources.declaring.collect import default_value
from crudite.resources.declaring.declare import Record
from crudite.resources.declaring.declared_fields import check_required_on, validators_of
from crudite.resources.declaring.default_filters import default_filters_of
from crudite.resources.declaring.defaults import of_function, of_symbol
from crudite.resources.declaring.definition import Codec, Definition, Definitions, MakeDefault
from crudite.resources.declaring.fields import ABSENT, FieldOptions, OnDelete
from crudite.resources.declaring.gather import Gathered, gather
from crudite.resources.declaring.keeping import check_going_along, rules_of_there
from crudite.resources.declaring.links import settable_links
from crudite.resources.declaring.owning import check_owners
from crudite.resources.declaring.placing import Placing
from crudite.resources.declaring.rule_reader import RuleReader
from crudite.resources.declaring.schemas import SchemaReader
from crudite.resources.declaring.shapes import Shape, key_type, read_annotation
from crudite.schema import Catalog, FieldType, ResourceSchema
from crudite.types import Plain

DEFAULT_LIMIT, DEFAULT_MAX_LIMIT = 50, 200

Narrow: TypeAlias = Callable[[str, ActionName], Filter]
"""What must hold, beside the rule of the resource at a path, for an action on it."""


def compile_resources(
    classes: Sequence[type[Any]], *, open: bool, narrow: Sequence[Narrow] = (), provide: Collection[Any] = ()
) -> Definitions:
    """The definitions of the classes of one application.

    `open` lets everyone do everything with a resource that declares no rules (for development); else nobody
    may. `narrow` is what every rule has besides, `provide` the types that hooks are given. Raises DeclarationError
    with one sentence for every fault in any of the classes.
    """
    compiler = _Compiler(_checked_classes(classes), narrow, provide)
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

    def __init__(self, classes: Mapping[str, type[Any]], narrow: Sequence[Narrow], provide: Collection[Any]) -> None:
        self.narrow = narrow
        self.gathered = {cls: gather(cls, classes, provide) for cls in classes.values()}
        self.keys = {cls: self._key(found) for cls, found in self.gathered.items()}
        self.shapes = {cls: self._shapes(found) for cls, found in self.gathered.items()}
        self.static = {cls: self._static_defaults(found) for cls, found in self.gathered.items()}
        reader = SchemaReader(self.shapes, self.static)
        self.schemas = {cls: reader.of(found) for cls, found in self.gathered.items()}
        self.catalog = Catalog({schema.name: schema for schema in self.schemas.values()})
        broken = {name for found in self.gathered.values() for name in found.broken}
        self.rules = RuleReader(self.schemas, self.catalog, broken)

    @property
    def faults(self) -> list[str]:
        """Every fault, in the order of the classes."""
        return [fault for found in self.gathered.values() for fault in found.faults]

    def definitions(self, *, open: bool) -> Definitions:
        """The definitions; they mean nothing when there are faults."""
        check_owners(self.gathered.values(), self.schemas)
        check_going_along(self.gathered.values(), self.schemas)
        self.settable = settable_links(self.gathered, self.schemas, self.shapes)
        placing = Placing(self.gathered, self.rules)
        made = {cls: placing.narrowed(self._definition(found, open)) for cls, found in self.gathered.items()}
        return Definitions(made, self.catalog, placing.of_all(tuple(made.values())))

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
            if shape.is_password and options.default is not None:
                found.fault(name, "a Password has no default but null")
                continue
            try:
                checked = Body(name, [body_field(name, shape, False)]).parse_python({name: default_value(options)})
                plain[name] = checked[name]
            except Invalid as invalid:
                found.faults.append(f"{found.name}.{name}: the default is not valid: {invalid.faults[0].detail}")
        return plain

    def _definition(self, found: Gathered, open: bool) -> Definition:
        shapes, schema = self.shapes[found.cls], self.schemas[found.cls]
        parents = tuple(name for name, shape in shapes.items() if shape.is_parent)
        only_nested = bool(found.options.get("only_nested", False))
        if only_nested and not parents:
            found.faults.append(f"{found.name}: only_nested needs a parent, such as project: Parent[Project].")
        limit, max_limit = self._limits(found)
        rules = rules_of_there(schema, self.rules.of_actions(found, open=open))
        field_read = self.rules.of_fields(found, "read")
        settable = self.settable[found.cls]
        links = [link.body_field for link in settable.values()]
        check_required_on(found, shapes)
        whole, bodies = bodies_of(found, schema, shapes, self.static[found.cls], links)
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
            field_hooks=found.field_hooks,
            limit=limit,
            max_limit=max_limit,
            bodies=bodies,
            whole=whole,
            settable=settable,
            shown=shown_of(found.name, schema, shapes, field_read),
            passwords=tuple(name for name, shape in shapes.items() if shape.is_password),
            codecs=tuple(
                Codec(n, shapes[n].nullable, shapes[n].to_plain, shapes[n].from_plain)
                for n in schema.fields
                if n in shapes
            ),
            validators=validators_of(found, shapes, self.schemas),
            default_filters=default_filters_of(found, shapes),
            cascades=cascades_of(found, schema, self.shapes, self.gathered),
        )

    def _narrowed(self, schema: ResourceSchema, action: ActionName, rule: Filter) -> Filter:
        beside = [narrow(schema.path, action) for narrow in self.narrow]
        return join((rule, *beside), either=False) if beside else rule

    def _limits(self, found: Gathered) -> tuple[int, int]:
        given = [found.options[name] for name in ("limit", "max_limit") if name in found.options]
        if not all(isinstance(one, int) for one in given):
            found.faults.append(f"{found.name}: limit and max_limit are numbers of records, such as limit=50.")
            return DEFAULT_LIMIT, DEFAULT_MAX_LIMIT
        max_limit = found.options.get("max_limit", max(DEFAULT_MAX_LIMIT, found.options.get("limit", 0)))
        limit = found.options.get("limit", min(DEFAULT_LIMIT, max_limit))
        if not 1 <= limit <= max_limit:
            found.faults.append(f"{found.name}: limit={limit} lies between 1 and max_limit, which is {max_limit}.")
        return limit, max_limit

    def _defaults(self, found: Gathered) -> dict[str, MakeDefault]:
        makes: dict[str, MakeDefault] = {}
        for name, shape in self.shapes[found.cls].items():
            options, where = found.fields[name], f"{found.name}.{name}"
            try:
                if isinstance(options.default, Symbol):
                    makes[name] = of_symbol(options.default, shape.type)
                elif options.default_factory is not None or callable(options.default):
                    makes[name] = of_function(options.default_factory or options.default, shape, where)
                elif isinstance(self.static[found.cls].get(name), list | dict):
                    makes[name] = of_function(partial(default_value, options), shape, where)
            except ValueError as error:
                found.faults.append(f"{where}: {error}.")
        return makes


def _check_reference(shape: Shape, options: FieldOptions) -> None:
    if shape.target is None and (not options.checked or options.on_delete != "restrict"):
        raise ValueError("`checked` and `on_delete` are for references only")
    if shape.target is None and not options.include:
        raise ValueError("`include` is for references and links only")
    if options.on_delete not in get_args(OnDelete):
        raise ValueError("on_delete is 'restrict', 'cascade', 'clear' or 'force'")
    if options.on_delete == "clear" and not shape.nullable:
        raise ValueError("on_delete='clear' makes it null, so it must allow null: `| None`")


def _check_visibility(shape: Shape, options: FieldOptions) -> None:
    if options.visible not in ("public", "private", "secret"):
        raise ValueError("visible is 'public', 'private' or 'secret'")
    if (options.visible == "secret" or shape.is_password) and options.read is not None:
        raise ValueError("it is secret, so nobody reads it and a rule for reading means nothing")
