"""From plans and filters to SQL text: one compiler for all dialects, one text for each shape.

A shape is what is left of a query without its constants. `shape_of` splits a filter into both in one walk; the
compiler numbers its parameters in the order of that same walk, so that a text that was compiled once serves
every query of its shape with nothing but new constants.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from crudite.query.plan import Mask, Plan, Selection, SortKey
from crudite.query.tree import And, Exists, Filter, Hop, Or, Path, Symbol, Test
from crudite.schema import FieldSpec, FieldType, ResourceSchema
from crudite.types import Plain

Constant: TypeAlias = tuple[FieldType, Plain]
"""A constant of a query and the type by which a store encodes it; a list has the type of its elements."""

Shape: TypeAlias = tuple[Any, ...]


class Statement(NamedTuple):
    """SQL text and what is bound to its numbered parameters, in order, encoded for the driver."""

    text: str
    parameters: tuple[Any, ...]


class Dialect(Protocol):
    """How one database spells the leaves. Every argument that is SQL is a complete expression."""

    name: str

    def store(self, type: FieldType, value: Plain) -> Any:
        """What is bound for a plain value (for a tuple of them: for the list)."""
        ...

    def load(self, type: FieldType, value: Any) -> Plain:
        """The plain value of a column's."""
        ...

    def parameter(self, number: int, type: FieldType, is_list: bool = False) -> str:
        """Parameter `number`, from 1."""
        ...

    def inside(self, column: str, path: tuple[str, ...], type: FieldType) -> str:
        """The value at a path inside a JSON column; NULL when it is not there or of another type."""
        ...

    def present(self, column: str, path: tuple[str, ...]) -> str:
        """Whether there is anything at the path, JSON null included."""
        ...

    def one_of(self, value: str, parameter: str, type: FieldType) -> str:
        """Whether the value is in the list that is bound to a parameter."""
        ...

    def holds(self, column: str, path: tuple[str, ...], item: FieldType, parameter: str) -> str:
        """Whether the JSON list at the path (or the column itself) has the parameter's value as an element."""
        ...

    def text_test(self, operator: str, value: str, parameter: str) -> str:
        """`contains icontains startswith istartswith endswith`, by code point; the `i` ones fold ASCII only."""
        ...

    def json_value(self, column: str, type: FieldType) -> str:
        """The column's value as an expression that a JSON object takes as it is."""
        ...

    def json_object(self, members: Sequence[tuple[str, str]]) -> str:
        """The text of a JSON object of names and `json_value` expressions, in order."""
        ...

    def json_without(self, json: str, members: Sequence[tuple[str, str]]) -> str:
        """The text of a JSON object without those members whose condition (SQL) is not true."""
        ...

    def order(self, value: str, descending: bool) -> str:
        """A term of ORDER BY, null lowest."""
        ...


def quote(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def select(plan: Plan, dialect: Dialect) -> Statement:
    """Rows of (key, version, JSON text, *sort values) for a plan, one more than its limit."""
    memo = plan.selection.memo
    mark = (dialect.name, "parts")
    if mark not in memo:
        memo[mark] = _selection_parts(plan.selection, dialect)
    shape, bound = memo[mark]
    nulls = tuple(value is None for value in plan.start) if plan.start is not None else None
    sort = tuple((key.path.names, key.descending) for key in plan.sort)
    form = (plan.keys is not None, sort, nulls, plan.backwards, plan.limit is not None, plan.offset > 0)
    text = _cached(dialect, shape, form, plan)
    if plan.keys is not None:
        return Statement(text, (*bound, dialect.store(plan.selection.schema.key_field.type, plan.keys)))
    return Statement(text, (*bound, *_page_parameters(plan, dialect)))


def count(selection: Selection, dialect: Dialect) -> Statement:
    """One row with the number of records of a selection."""
    shape, constants = shape_of(selection.filter)

    def compile() -> str:
        writer = SqlWriter(dialect)
        return f"SELECT count(*) FROM {quote(selection.schema.table)} AS t WHERE {writer.filter(selection.filter)}"

    text = _compiled((dialect.name, selection.schema, "count", shape), compile)
    return Statement(text, encode(constants, dialect))


def condition(filter: Filter, dialect: Dialect, alias: str = "t", first: int = 1) -> Statement:
    """A bound filter as an SQL condition on the table called `alias`, its parameters numbered from `first`."""
    shape, constants = shape_of(filter)
    root = _root(filter)
    text = _compiled(
        (dialect.name, root, "condition", alias, first, shape),
        lambda: SqlWriter(dialect, first).filter(filter, alias),
    )
    return Statement(text, encode(constants, dialect))


def record_json(schema: ResourceSchema, names: Sequence[str], alias: str, dialect: Dialect) -> str:
    """The SQL expression for the JSON text of a record with the named fields; `alias` may be NEW or OLD."""
    fields = [schema.fields[name] for name in names]
    return dialect.json_object([(f.name, dialect.json_value(f"{alias}.{quote(f.name)}", f.type)) for f in fields])


def masked_json(selection: Selection, dialect: Dialect, alias: str = "t", first: int = 1) -> Statement:
    """The SQL expression for the JSON text of what a selection's mask shows of a record."""
    writer = SqlWriter(dialect, first)
    text = writer.mask(selection, alias)
    return Statement(text, encode(_mask_shape(selection.mask)[1], dialect))


def encode(constants: Sequence[Constant], dialect: Dialect) -> tuple[Any, ...]:
    """The constants as the driver takes them."""
    store = dialect.store
    return tuple([store(type, value) for type, value in constants])


def shape_of(filter: Filter) -> tuple[Shape, list[Constant]]:
    """A bound filter split into its shape, which can be hashed, and its constants in the order of parameters."""
    constants: list[Constant] = []
    return _shape(filter, constants), constants


def identity_of(filter: Filter) -> str:
    """A text that is equal for two filters exactly when shape and constants are; symbols count by name."""
    shape, constants = shape_of(filter)
    return repr((shape, [(type.kind, value) for type, value in constants]))


def _shape(filter: Filter, constants: list[Constant]) -> Shape:
    match filter:
        case Test(path, operator, value, negated):
            if operator not in ("isnull", "exists"):
                constants.append((path.type.item if path.type.item is not None else path.type, value))
            return ("test", path.names, operator, negated)
        case And(terms):
            return ("and", *[_shape(term, constants) for term in terms])
        case Or(terms):
            return ("or", *[_shape(term, constants) for term in terms])
        case Exists(hops, link, _, inner, negated):
            names = tuple(hop.field.name for hop in hops)
            return ("exists", names, link.name, negated, _shape(inner, constants))
    raise TypeError(f"expected a resolved filter, got {filter!r}")


def _mask_shape(mask: Mask) -> tuple[Shape, list[Constant]]:
    constants: list[Constant] = []
    shape = tuple((name, _shape(filter, constants)) for name, filter in mask.sometimes)
    return (mask.always, shape), constants


def _selection_parts(selection: Selection, dialect: Dialect) -> tuple[Shape, tuple[Any, ...]]:
    filter_shape, constants = shape_of(selection.filter)
    mask_shape, mask_constants = _mask_shape(selection.mask)
    return (filter_shape, mask_shape), encode([*constants, *mask_constants], dialect)


_texts: dict[Shape, str] = {}
_MOST_TEXTS = 5000


def _compiled(shape: Shape, compile: Callable[[], str]) -> str:
    text = _texts.get(shape)
    if text is None:
        if len(_texts) >= _MOST_TEXTS:  # whoever asks ever new shapes pays by compiling, not with our memory
            _texts.clear()
        text = _texts[shape] = compile()
    return text


def _cached(dialect: Dialect, shape: Shape, form: Shape, plan: Plan) -> str:
    return _compiled(
        (dialect.name, plan.selection.schema, "select", shape, form), lambda: _select_text(plan, dialect)
    )


def _select_text(plan: Plan, dialect: Dialect) -> str:
    writer = SqlWriter(dialect)
    selection, schema = plan.selection, plan.selection.schema
    where = [writer.filter(selection.filter)]
    json = writer.mask(selection, "t")
    columns = [f"t.{quote(schema.key)}", 't."version"', json, *[writer.value(key.path) for key in plan.sort]]
    text = f"SELECT {', '.join(columns)} FROM {quote(schema.table)} AS t WHERE "
    if plan.keys is not None:
        parameter = writer.parameter(schema.key_field.type, is_list=True)
        return text + where[0] + f" AND {dialect.one_of(columns[0], parameter, schema.key_field.type)}"
    if plan.start is not None:
        where.append(_after(plan.sort, plan.start, plan.backwards, writer))
    order = [dialect.order(writer.value(key.path), key.descending != plan.backwards) for key in plan.sort]
    text += " AND ".join(where) + f" ORDER BY {', '.join(order)}"
    if plan.limit is not None or plan.offset:
        text += f" LIMIT {writer.parameter(_COUNT)}"
    if plan.offset:
        text += f" OFFSET {writer.parameter(_COUNT)}"
    return text


def _page_parameters(plan: Plan, dialect: Dialect) -> list[Any]:
    values: list[Any] = []
    if plan.start is not None:
        pairs = zip(plan.sort, plan.start, strict=True)
        values += [dialect.store(key.path.type, value) for key, value in pairs if value is not None]
    if plan.limit is not None or plan.offset:
        values.append(plan.limit + 1 if plan.limit is not None else -1)
    if plan.offset:
        values.append(plan.offset)
    return values


def _after(sort: Sequence[SortKey], start: Sequence[Plain], backwards: bool, writer: "SqlWriter") -> str:
    """What comes after `start` in the order of the sort, as an OR over the first key that differs.

    A leading bound on the first key, implied by the rest, lets the database start inside an index.
    """
    equal: list[str] = []
    ranges: list[str] = []
    bound = "TRUE"
    for index, (key, value) in enumerate(zip(sort, start, strict=True)):
        column = writer.value(key.path)
        upwards = key.descending == backwards
        if value is None:
            beyond, same = f"{column} IS NOT NULL" if upwards else "FALSE", f"{column} IS NULL"
        else:
            parameter = writer.parameter(key.path.type)
            nulls_after = not upwards and _may_be_null(key.path)
            beyond = f"{column} > {parameter}" if upwards else f"{column} < {parameter}"
            beyond = f"({beyond} OR {column} IS NULL)" if nulls_after else beyond
            same = f"{column} = {parameter}"
            if index == 0 and not nulls_after:
                bound = f"{column} {'>=' if upwards else '<='} {parameter}"
        ranges.append(" AND ".join([*equal, beyond]))
        equal.append(same)
    return f"{bound} AND ({' OR '.join(f'({part})' for part in ranges)})"


def _may_be_null(path: Path) -> bool:
    return path.field.nullable or bool(path.hops) or bool(path.inside)


def _root(filter: Filter) -> Any:
    """The schema object that the first leaf speaks of, so that equal names in two applications do not meet."""
    match filter:
        case And(terms) | Or(terms):
            return tuple(_root(term) for term in terms)
        case Test(path):
            return path.field
        case Exists():
            return (filter.target, _root(filter.filter))
    return None


_COUNT = FieldType("integer")


class SqlWriter:
    """Writes SQL for bound filters, numbering parameters from `first` in the order of `shape_of`."""

    def __init__(self, dialect: Dialect, first: int = 1) -> None:
        self.dialect = dialect
        self._next = first
        self._aliases = 0

    def parameter(self, type: FieldType, is_list: bool = False) -> str:
        """The next parameter."""
        self._next += 1
        return self.dialect.parameter(self._next - 1, type, is_list)

    def filter(self, filter: Filter, alias: str = "t") -> str:
        """A condition on the table called `alias`. It may be NULL in place of false."""
        match filter:
            case And(terms):
                return self._join(terms, " AND ", "TRUE", alias)
            case Or(terms):
                return self._join(terms, " OR ", "FALSE", alias)
            case Test():
                if isinstance(filter.value, Symbol):
                    raise TypeError(f"the filter is not bound: {filter.value!r} has no value yet")
                return self._test(filter, alias)
            case Exists():
                return self._exists(filter, alias)
        raise TypeError(f"expected a resolved filter, got {filter!r}")

    def mask(self, selection: Selection, alias: str) -> str:
        """The JSON text of what a mask shows of a record."""
        mask = selection.mask
        names = [*mask.always, *[name for name, _ in mask.sometimes]]
        json = record_json(selection.schema, names, alias, self.dialect)
        if not mask.sometimes:
            return json
        conditions = [(name, self.filter(filter, alias)) for name, filter in mask.sometimes]
        return self.dialect.json_without(json, conditions)

    def value(self, path: Path, alias: str = "t") -> str:
        """The value at a path, NULL when any step leads nowhere."""
        if not path.hops:
            return self._own_value(path, alias)
        hop, *rest = path.hops
        inner, table = self._alias(), quote(hop.target.table)
        value = self.value(Path(tuple(rest), path.field, path.inside, path.type), inner)
        match = f"{inner}.{quote(hop.target.key)} = {alias}.{quote(hop.field.name)}"
        return f"(SELECT {value} FROM {table} AS {inner} WHERE {match})"

    def _own_value(self, path: Path, alias: str) -> str:
        column = f"{alias}.{quote(path.field.name)}"
        return self.dialect.inside(column, path.inside, path.type) if path.inside else column

    def _join(self, terms: Sequence[Filter], word: str, none: str, alias: str) -> str:
        return f"({word.join(self.filter(term, alias) for term in terms)})" if terms else none

    def _test(self, test: Test, alias: str) -> str:
        negated = test.negated
        if test.operator == "isnull":  # through a reference, nothing there is null too: ask for something, negated
            negated = not negated
        text = self._along(test.path.hops, alias, lambda at: self._own_test(test, at))
        return f"({text}) IS NOT TRUE" if negated else text

    def _along(self, hops: Sequence[Hop], alias: str, then: Callable[[str], str]) -> str:
        """A condition on the record that the hops lead to; not true when they lead nowhere."""
        if not hops:
            return then(alias)
        hop, inner = hops[0], self._alias()
        condition = self._along(hops[1:], inner, then)
        key, table = quote(hop.target.key), quote(hop.target.table)
        return f"{alias}.{quote(hop.field.name)} IN (SELECT {inner}.{key} FROM {table} AS {inner} WHERE {condition})"

    def _own_test(self, test: Test, alias: str) -> str:
        path, dialect = test.path, self.dialect
        column = f"{alias}.{quote(path.field.name)}"
        if test.operator == "exists":
            return dialect.present(column, path.inside)
        if test.operator == "contains" and path.type.item is not None:
            return dialect.holds(column, path.inside, path.type.item, self.parameter(path.type.item))
        value = self._own_value(path, alias)
        if test.operator == "isnull":
            return f"{value} IS NOT NULL"
        if test.operator == "in":
            return dialect.one_of(value, self.parameter(path.type, is_list=True), path.type)
        parameter = self.parameter(path.type)
        comparison = _COMPARISONS.get(test.operator)
        if comparison is not None:
            return f"{value} {comparison} {parameter}"
        return dialect.text_test(test.operator, value, parameter)

    def _exists(self, exists: Exists, alias: str) -> str:
        def related(at: str) -> str:
            inner = self._alias()
            condition = self.filter(exists.filter, inner)
            field: FieldSpec = exists.target.fields[exists.link.field]
            table, own_key = quote(exists.target.table), quote(exists.link.source_key)
            column = f"{inner}.{quote(field.name)}"
            return f"{at}.{own_key} IN (SELECT {column} FROM {table} AS {inner} WHERE {condition})"

        text = self._along(exists.hops, alias, related)
        return f"({text}) IS NOT TRUE" if exists.negated else text

    def _alias(self) -> str:
        self._aliases += 1
        return f"r{self._aliases}"


_COMPARISONS = {"eq": "=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
