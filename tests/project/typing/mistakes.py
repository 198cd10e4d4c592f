"""Mistakes that type checkers must find; each of these lines must be reported."""

from crudite import Field, Many, One, Ref, Resource, before


class Account(Resource):
    name: str
    friends: Many["Account"] = Field(by="best")
    best: Ref["Account | None"] = Field(default=None)
    only: One["Account"] = Field(settable=True)


class Odd(Resource, rulez=None):  # MISTAKE: no such keyword
    @before("remove")  # MISTAKE: no such action
    def gone(self) -> None: ...


Account()  # MISTAKE: the name is missing
Account(name=3)  # MISTAKE: the name is a text
Account("Ada")  # MISTAKE: arguments are named
Account(name="Ada", age=3)  # MISTAKE: there is no such field
Account(name="Ada", friends=[])  # MISTAKE: a link is no field
Account(name="Ada", only=None)  # MISTAKE: nor is this one
Account(name="Ada", version=3)  # MISTAKE: the version is not given
Account(name="Ada", best=3.5)  # MISTAKE: no key
Account(name="Ada").best.name  # MISTAKE: a reference reads as the key  # noqa: B018
Account(name="Ada").nmae  # MISTAKE: there is no such field  # noqa: B018
