"""What can be asked of a value, whatever field it is for: predefined validators, by class or by name.

Three ways to the same one: `slug: Annotated[str, validators.NotPadded()]`, `Field(validate="notpadded")`, and
`validators.check(value, "notpadded")`.
"""

from crudite.validators.base import Validator
from crudite.validators.lists import Array, IntegerArray, NoRepeats, StringArray
from crudite.validators.named import NAMES, check, named
from crudite.validators.numbers import Boolean, Integer, Number
from crudite.validators.parents import MatchesParent
from crudite.validators.sizes import Maximum, Minimum
from crudite.validators.texts import Alphanumeric, Email, NotBlank, NotPadded, NotPattern, OneOf, Pattern, String, Url

__all__ = [
    "NAMES",
    "Alphanumeric",
    "Array",
    "Boolean",
    "Email",
    "Integer",
    "IntegerArray",
    "MatchesParent",
    "Maximum",
    "Minimum",
    "NoRepeats",
    "NotBlank",
    "NotPadded",
    "NotPattern",
    "Number",
    "OneOf",
    "Pattern",
    "String",
    "StringArray",
    "Url",
    "Validator",
    "check",
    "named",
]
