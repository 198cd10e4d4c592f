"""From plans and filters to SQL text: one compiler for all dialects, one text for each shape.

The compiler numbers its parameters in the order in which `query.shapes` finds the constants, so that a text that was
compiled once serves every query of its shape with nothing but new constants.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from crudite.query.dialect import Dialect
from crudite.query.plan import INCLUDED, Include, Plan, Selection, SortKey, Through
from crudite.query.shapes import WORDS, Constant, Shape, basis_of, mask_shape_of, shape_of
from crudite.query.tree import And, Exists, Filter, Hop, Or, Path, Search, Test
from crudite.schema import FieldSpec, FieldType, Link, ResourceSchema
from crudite.types import Plain


class Statement(NamedTuple):
    """SQL text and what is bound to its numbered parameters, in order, encoded for the driver."""

    text: str
    parameters: tuple[Any, ...]


def quote(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def select(plan: Plan, dialect: Dialect) -> Statement:
    """Rows of (key, version, JSON text, *sort values) for a plan, one more than its limit."""
    selection, start = plan.selection, plan.start
    parts = selection.memo.get(dialect.name)
    if parts is None:
        parts = selection.memo[dialect.name] = _parts(selection, dialect)
    form = (
        plan.keys is not None,
        tuple([(key.path.names, key.descending) for key in plan.sort]),
        None if start is None else tuple([value is None for value in start]),
        None if plan.until is None else tuple([value is None for value in plan.until]),
        plan.backwards,
        plan.limit is not None,
        plan.offset > 0,
    )
    text = parts.texts.get(form)
    if text is None:
        mark = (dialect.name, selection.schema, parts.shape, form)
        text = compiled(mark, lambda: _select_text(plan, dialect))
        if len(parts.texts) < _MOST_FORMS:
            parts.texts[form] = text
    if plan.keys is not None:
        return Statement(text, (*parts.bound, dialect.store(selection.schema.key_field.type, plan.keys)))
    return Statement(text, (*parts.bound, *_page_parameters(plan, dialect)))


def lookup(selection: Selection, dialect: Dialect) -> Statement:
    """The row (version, JSON text) of one record, whose key is to be bound as the last parameter."""
    mark = (dialect.name, "lookup")
    statement: Statement | None = selection.memo.get(mark)
    if statement is None:
        parts = _parts(selection, dialect)
        shape = (dialect.name, selection.schema, "lookup", parts.shape)
        text = compiled(shape, lambda: _lookup_text(selection, dialect))
        statement = selection.memo[mark] = Statement(text, parts.bound)
    return statement


def count(selection: Selection, dialect: Dialect) -> Statement:
    """One row with the number of records of a selection."""
    shape, constants = shape_of(selection.filter)

    def compile() -> str:
        table, where = quote(selection.schema.table), SqlWriter(dialect).filter(selection.filter)
        return f"SELECT count(*) FROM {table} AS t WHERE {where}"

    text = compiled((dialect.name, selection.schema, "count", shape), compile)
    return Statement(text, encode(constants, dialect))


def condition(filter: Filter, dialect: Dialect, alias: str = "t", first: int = 1) -> Statement:
    """A bound filter as an SQL condition on the table called `alias`, parameters numbered from `first`."""
    shape, constants = shape_of(filter)
    mark = (dialect.name, basis_of(filter), "condition", alias, first, shape)
    text = compiled(mark, lambda: SqlWriter(dialect, first).filter(filter, alias))
    return Statement(text, encode(constants, dialect))


def record_json(schema: ResourceSchema, names: Sequence[str], alias: str, dialect: Dialect) -> str:
    """The SQL expression for the JSON text of a record with the named fields; `alias` may be NEW or OLD."""
    return dialect.json_object(_members(schema, names, alias, dialect))


def masked_json(selection: Selection, dialect: Dialect, alias: str = "t", first: int = 1) -> Statement:
    """The SQL expression for the JSON text of what a selection's mask shows of a record."""
    writer = SqlWriter(dialect, first)
    text = writer.mask(selection, alias)
    return Statement(text, encode(mask_shape_of(selection.mask)[1], dialect))


def encode(constants: Sequence[Constant], dialect: Dialect) -> tuple[Any, ...]:
    """The constants as the driver takes them."""
    store = dialect.store
    return tuple([store(type, value) for type, value in constants])


def _members(schema: ResourceSchema, names: Sequence[str], alias: str, dialect: Dialect) -> list[tuple[str, str]]:
    fields = [schema.fields[name] for name in names]
    return [(f.name, dialect.json_value(f"{alias}.{quote(f.name)}", f.type)) for f in fields]


class _Parts(NamedTuple):
    """What a selection brings to every statement made of it: shape, constants, and the texts so far."""

    shape: Shape
    bound: tuple[Any, ...]
    texts: dict[Shape, str]


def _parts(selection: Selection, dialect: Dialect) -> _Parts:
    filter_shape, constants = shape_of(selection.filter)
    mask_shape, mask_constants = mask_shape_of(selection.mask)
    return _Parts((filter_shape, mask_shape), encode([*constants, *mask_constants], dialect), {})


# Whoever asks ever new or ever longer queries pays by compiling, not with our memory.
_MOST_TEXTS = 2_000
_LONGEST_TEXT = 20_000
_MOST_FORMS = 20
_texts: dict[Shape, str] = {}


def compiled(mark: Shape, compile: Callable[[], str]) -> str:
    """The SQL text of a shape, compiled once."""
    text = _texts.get(mark)
    if text is None:
        text = compile()
        if len(_texts) >= _MOST_TEXTS:
            _texts.clear()
        if len(text) <= _LONGEST_TEXT:
            _texts[mark] = text
    return text


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
    if plan.until is not None:
        where.append(_after(plan.sort, plan.until, True, writer, inclusive=True))
    keys = [(writer.value(k.path), k.descending != plan.backwards, _may_be_null(k.path)) for k in plan.sort]
    order = [dialect.order(*key) for key in keys]
    text += " AND ".join(where)
    if order:
        text += f" ORDER BY {', '.join(order)}"
    if plan.limit is not None or plan.offset:
        text += f" LIMIT {writer.parameter(_COUNT)}"
    if plan.offset:
        text += f" OFFSET {writer.parameter(_COUNT)}"
    return text


def _lookup_text(selection: Selection, dialect: Dialect) -> str:
    writer, schema = SqlWriter(dialect), selection.schema
    where, json = writer.filter(selection.filter), writer.mask(selection, "t")
    key = f"t.{quote(schema.key)} = {writer.parameter(schema.key_field.type)}"
    return f'SELECT t."version", {json} FROM {quote(schema.table)} AS t WHERE {where} AND {key}'


def _page_parameters(plan: Plan, dialect: Dialect) -> list[Any]:
    values: list[Any] = []
    for place in (plan.start, plan.until):
        pairs = zip(plan.sort, place, strict=True) if place is not None else ()
        values += [dialect.store(key.path.kept, value) for key, value in pairs if value is not None]
    if plan.limit is not None or plan.offset:
        values.append(plan.limit + 1 if plan.limit is not None else 2**62)
    if plan.offset:
        values.append(plan.offset)
    return values


def _after(
    sort: Sequence[SortKey], start: Sequence[Plain], backwards: bool, writer: "SqlWriter", *, inclusive: bool = False
) -> str:
    """What comes after `start` in the order of the sort (or before it), as an OR over the first key that differs.

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
            parameter = writer.parameter(key.path.kept)
            nulls_after = not upwards and _may_be_null(key.path)
            beyond = f"{column} > {parameter}" if upwards else f"{column} < {parameter}"
            beyond = f"({beyond} OR {column} IS NULL)" if nulls_after else beyond
            same = f"{column} = {parameter}"
            if index == 0 and not nulls_after:
                bound = f"{column} {'>=' if upwards else '<='} {parameter}"
        ranges.append(" AND ".join([*equal, beyond]))
        equal.append(same)
    if inclusive:
        ranges.append(" AND ".join(equal))
    return f"{bound} AND ({' OR '.join(f'({part})' for part in ranges)})"


def _may_be_null(path: Path) -> bool:
    return path.field.nullable or bool(path.hops) or bool(path.inside)


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
                if filter.symbol is not None:
                    raise TypeError(f"the filter is not bound: {filter.value!r} has no value yet")
                return self._test(filter, alias)
            case Exists():
                return self._exists(filter, alias)
            case Search(schema):
                return self.dialect.search(schema, alias, self.parameter(WORDS))
        raise TypeError(f"expected a resolved filter, got {filter!r}")

    def mask(self, selection: Selection, alias: str) -> str:
        """The JSON text of what a mask shows of a record."""
        mask = selection.mask
        names = [*mask.always, *[name for name, _ in mask.sometimes]]
        conditions = [(name, self.filter(filter, alias)) for name, filter in mask.sometimes]
        members = _members(selection.schema, names, alias, self.dialect)
        if mask.includes:
            included = [(one.name, self.dialect.json_nested(self._include(one, alias))) for one in mask.includes]
            members.append((INCLUDED, self.dialect.json_nested(self.dialect.json_object(included))))
        json = self.dialect.json_object(members)
        return self.dialect.json_without(json, conditions) if conditions else json

    def value(self, path: Path, alias: str = "t") -> str:
        """The value at a path, NULL when any step leads nowhere."""
        if not path.hops:
            return self._own_value(path, alias)
        hop, *rest = path.hops
        inner, table = self._alias(), quote(hop.target.table)
        value = self.value(Path(tuple(rest), path.field, path.inside, path.type), inner)
        match = f"{inner}.{quote(hop.target.key)} = {alias}.{quote(hop.field.name)}"
        return f"(SELECT {value} FROM {table} AS {inner} WHERE {match})"

    def _include(self, include: Include, alias: str) -> str:
        """The JSON text of what is included in the record called `alias`; NULL for no record."""
        inner, selection = self._alias(), include.selection
        guard, filter = self.filter(include.guard, alias), self.filter(selection.filter, inner)
        key = f"{inner}.{quote(selection.schema.key)}"
        along = self._on_the_way(include, alias, inner)
        json = self.mask(selection, inner)
        rows = f"FROM {quote(selection.schema.table)} AS {inner} WHERE {along} AND {guard} AND {filter}"
        match include.along:
            case Hop():
                return f"(SELECT {json} {rows})"
            case Link(is_one=True):
                return f"(SELECT {json} {rows} ORDER BY {key} LIMIT 1)"
        rows = f"SELECT {json} AS json, {key} AS place {rows}"
        return self.dialect.json_array(f"{rows} ORDER BY {key} LIMIT {include.most}")

    def _on_the_way(self, include: Include, alias: str, inner: str) -> str:
        """The condition that the record called `inner` is what the way of an include leads to from `alias`."""
        key = f"{inner}.{quote(include.selection.schema.key)}"
        match include.along:
            case Hop(field):
                return f"{key} = {alias}.{quote(field.name)}"
            case Link() as link:
                return f"{inner}.{quote(link.field)} = {alias}.{quote(link.source_key)}"
            case Through(link, joining, to, filter):
                joined = self._alias()
                pointing = f"{joined}.{quote(link.field)} = {alias}.{quote(link.source_key)}"
                rows = f"FROM {quote(joining.table)} AS {joined} WHERE {pointing} AND {self.filter(filter, joined)}"
                return f"{key} IN (SELECT {joined}.{quote(to)} {rows})"

    def _own_value(self, path: Path, alias: str) -> str:
        column = f"{alias}.{quote(path.field.name)}"
        if path.inside or path.type.kind == "json":
            return self.dialect.inside(column, path.inside, path.type)
        return column

    def _join(self, terms: Sequence[Filter], word: str, none: str, alias: str) -> str:
        if not terms:
            return none
        if len(terms) <= _WIDEST:
            return f"({word.join([self.filter(term, alias) for term in terms])})"
        # halves of halves: databases limit how deep an expression is, and a chain is as deep as it is long
        middle = len(terms) // 2
        halves = (self._join(half, word, none, alias) for half in (terms[:middle], terms[middle:]))
        return f"({word.join(halves)})"

    def _test(self, test: Test, alias: str) -> str:
        negated = test.negated
        if test.operator == "isnull":
            negated = not negated  # where a reference leads nowhere is null too: ask for something, negated
        text = self._along(test.path.hops, alias, lambda at: self._own_test(test, at))
        return f"({text}) IS NOT TRUE" if negated else text

    def _along(self, hops: Sequence[Hop], alias: str, then: Callable[[str], str]) -> str:
        """A condition on the record that the hops lead to; not true when they lead nowhere."""
        if not hops:
            return then(alias)
        hop, inner = hops[0], self._alias()
        condition = self._along(hops[1:], inner, then)
        column, key = f"{alias}.{quote(hop.field.name)}", f"{inner}.{quote(hop.target.key)}"
        return f"{column} IN (SELECT {key} FROM {quote(hop.target.table)} AS {inner} WHERE {condition})"

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
            return dialect.one_of(value, self.parameter(path.kept, is_list=True), path.kept)
        parameter = self.parameter(path.kept)
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


_WIDEST = 16
_COMPARISONS = {"eq": "=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


__all__ = [
    "SqlWriter", "Statement", "compiled", "condition", "count", "encode", "lookup", "masked_json", "quote",
    "record_json", "select",
]  # fmt: skip
