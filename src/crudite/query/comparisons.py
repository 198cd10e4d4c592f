"""From one written condition, on a path that is known, to tests: operators become few and values plain."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from crudite.query.faults import Complain, is_unstorable, nearest, shown
from crudite.query.simplify import join
from crudite.query.tree import NOTHING, OPERATORS, Condition, Filter, Path, Symbol, Test, TestOperator
from crudite.schema import FieldType

MAX_LIST = 1000
"""The largest number of values in one `in` or `nin`."""

COMPARABLE_INSIDE = frozenset(("text", "integer", "float", "boolean", "date", "uuid"))
"""The kinds whose plain form is what lies in JSON, so that a value there can be compared."""

_TEXT_OPERATORS = frozenset(("contains", "icontains", "startswith", "istartswith", "endswith"))
_CLOCKS = {"now": "datetime", "today": "date"}


class UrlText(str):
    """A value from a URL, to be read by the type of its field."""

    __slots__ = ()


def truth(value: Any) -> bool | None:
    """The value of a condition that takes true or false; None when it is neither."""
    if isinstance(value, UrlText):
        return {"true": True, "false": False}.get(value)
    return value if isinstance(value, bool) else None


def compare(path: Path, condition: Condition, negated: bool, complain: Complain) -> Filter:
    """The resolved filter for a condition on the value at a path; NOTHING, and a complaint, for a bad one."""
    return _Comparison(path, condition, negated, complain).resolve()


def is_sortable(path: Path) -> bool:
    """Whether the values at a path have an order."""
    return path.type.kind in COMPARABLE_INSIDE if path.inside else path.type.kind != "json"


@dataclass(frozen=True, slots=True)
class _Comparison:
    path: Path
    condition: Condition
    negated: bool
    complain: Complain

    def resolve(self) -> Filter:
        operator, value = self.condition.operator, self.condition.value
        if not self._fits():
            return NOTHING
        match operator:
            case "eq" | "ne":
                return self._equal(value, self.negated != (operator == "ne"))
            case "in" | "nin":
                return self._member(self.negated != (operator == "nin"))
            case "between":
                return self._between()
            case "isnull" | "exists":
                return self._absent()
        compared = self.path.type.item or self.path.type
        return self._test(operator, self._plain(compared, value), self.negated)

    def _test(self, operator: TestOperator, value: Any, negated: bool) -> Filter:
        return Test(self.path, operator, value, negated)

    def _bad(self, code: str, detail: str) -> Filter:
        self.complain(code, detail)
        return NOTHING

    def _fits(self) -> bool:
        """Whether the operator goes with the type; complains when not."""
        operator, type, name = self.condition.operator, self.path.type, shown(".".join(self.path.names))
        if operator not in OPERATORS:
            self._bad("unknown_operator", f"There is no operator {shown(operator)}{nearest(operator, OPERATORS)}")
        elif operator in ("isnull", "exists"):
            return True
        elif type.item is not None and (operator != "contains" or type.item.kind not in COMPARABLE_INSIDE):
            takes = "contains, isnull and exists" if type.item.kind in COMPARABLE_INSIDE else "isnull and exists"
            self._bad("bad_operator", f"{name} is a list: it takes {takes}, not {operator}.")
        elif type.item is not None:
            return True
        elif type.kind == "json":
            what = "holds JSON: compare a declared value inside it, or use isnull or exists"
            self._bad("bad_operator", f"{name} {what}.")
        elif self.path.inside and type.kind not in COMPARABLE_INSIDE:
            self._bad("bad_operator", f"{name} cannot be compared inside JSON: its form there is not fixed.")
        elif operator in _TEXT_OPERATORS and type.kind != "text":
            self._bad("bad_operator", f"{operator} needs a text, and {name} is {type.described}.")
        else:
            return True
        return False

    def _equal(self, value: Any, negated: bool) -> Filter:
        if value is None:
            return self._test("isnull", True, negated)
        return self._test("eq", self._plain(self.path.type, value), negated)

    def _member(self, negated: bool) -> Filter:
        value = self.condition.value
        if isinstance(value, Symbol):
            return self._test("in", self._symbol(self.path.type, value), negated)
        values = self._list(value)
        if values is None:
            return self._bad("bad_value", f"{self.condition.operator} takes a list, got {shown(value)}.")
        if len(values) > MAX_LIST:
            text = f"{self.condition.operator} takes at most {MAX_LIST} values, got {len(values)}."
            return self._bad("too_many_values", text)
        # null and symbols are split off: they are compared in their own ways
        plain = [self._plain(self.path.type, v) for v in values if v is not None and not isinstance(v, Symbol)]
        tests = [self._equal(v, negated) for v in values if isinstance(v, Symbol)]
        if any(v is None for v in values):
            tests.append(self._test("isnull", True, negated))
        if plain:
            tests.insert(0, self._test("in", tuple(dict.fromkeys(plain)), negated))
        return join(tests, either=not negated)

    def _between(self) -> Filter:
        values = self._list(self.condition.value) or ()
        if len(values) != 2 or any(value is None for value in values):
            return self._bad("bad_value", "between takes two values, the lowest and the highest.")
        low, high = (self._plain(self.path.type, value) for value in values)
        ends = [self._test("gte", low, self.negated), self._test("lte", high, self.negated)]
        return join(ends, either=self.negated)

    def _absent(self) -> Filter:
        operator, wanted = self.condition.operator, truth(self.condition.value)
        if wanted is None:
            return self._bad("bad_value", f"{operator} takes true or false, got {shown(self.condition.value)}.")
        if operator == "exists" and self.path.inside:
            return self._test("exists", True, self.negated == wanted)
        return self._test("isnull", True, self.negated != (wanted != (operator == "isnull")))

    def _list(self, value: Any) -> list[Any] | None:
        if isinstance(value, UrlText):
            return [UrlText(part) for part in value.split(",")]
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            return None
        return list(value)

    def _symbol(self, type: FieldType, symbol: Symbol) -> Symbol:
        if _CLOCKS.get(symbol.name, type.kind) != type.kind:
            self._bad("bad_value", f"{symbol.name} does not go with {type.described}.")
        return symbol

    def _plain(self, type: FieldType, value: Any) -> Any:
        if isinstance(value, Symbol):
            return self._symbol(type, value)
        if value is None:
            self._bad("bad_value", f"{self.condition.operator} does not take null.")
            return None
        try:
            return type.parse(str(value)) if isinstance(value, UrlText) else type.check(value)
        except ValueError as fault:
            code = "bad_text" if is_unstorable(value) else "bad_value"
            where = shown(".".join(self.condition.path))
            self._bad(code, f"{where}: {fault}, got {shown(value)}.")
            return None
