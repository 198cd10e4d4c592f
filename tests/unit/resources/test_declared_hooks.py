"""A hook that would never run, or would be given something else than it says, is refused with the application."""

from typing import Any

import pytest

from crudite import App, DeclarationError, Next, Record, Request, Response, after, allow, around, before


def faults_of(cls: type[Record[Any]]) -> list[str]:
    with pytest.raises(DeclarationError) as refused:
        App(cls, store="sqlite:///:memory:")
    return list(refused.value.faults)


def test_a_hook_without_parentheses_or_with_a_yield_is_refused_for_it_would_never_run() -> None:
    class Task(Record[int], rules=allow.everyone):
        title: str

        @before  # type: ignore[arg-type]
        async def check(self) -> None: ...

        @after  # type: ignore[arg-type]
        def tell(self) -> None: ...

        @around  # type: ignore[arg-type]
        @classmethod
        async def step(cls, request: Request, next: Next) -> Response:
            return await next()

        @before("create")
        async def each(self) -> Any:
            yield self

    assert faults_of(Task) == [
        "Task.check: @before is written with parentheses, such as @before('create').",
        "Task.tell: @after is written with parentheses, such as @after('create').",
        "Task.step: @around is written with parentheses, such as @around('create').",
        "Task.each: it says `yield`, so it is a generator, and nothing of it would be run.",
    ]


def test_a_hook_whose_parameters_stand_in_another_order_is_told_what_it_would_be_given() -> None:
    class Task(Record[int], rules=allow.everyone):
        title: str

        @before("update")
        async def stay(self, old: "Task | None") -> None: ...

        @before("create")
        @staticmethod
        async def check(request: Request) -> None: ...

        @after("update")
        async def tell(self, before: "Task", asked: Request) -> None: ...

        @around("create")
        @classmethod
        async def only(cls, request: Request) -> Any: ...

        @around("delete")
        @classmethod
        async def turned(cls, next: Next, request: Request) -> Any: ...

    assert faults_of(Task) == [
        "Task.stay: 'old' would be given `request`: @before takes (self, request, old), in this order.",
        "Task.check: 'request' would be given the record: @before takes (self, request, old), in this order.",
        "Task.tell: 'before' would be given `request`: @after takes (self, request, old), in this order.",
        "Task.tell: 'asked' would be given the old record: @after takes (self, request, old), in this order.",
        "Task.only: 'cls' would be given `request`: @around takes (cls, request, next), in this order.",
        "Task.only: 'request' would be given `next`: @around takes (cls, request, next), in this order.",
        "Task.turned: 'next' would be given `request`: @around takes (cls, request, next), in this order.",
        "Task.turned: 'request' would be given `next`: @around takes (cls, request, next), in this order.",
    ]


def test_parameters_may_be_called_as_one_likes_where_they_stand_right() -> None:
    class Task(Record[int], rules=allow.everyone):
        title: str

        @before()
        async def check(draft, asked, _: Any) -> None: ...  # noqa: N805

        @around("list")
        @staticmethod
        async def listed(request: Request, proceed: Next) -> Response:
            return await proceed()

        @around("read")
        async def read(self, request: Request, next: Next) -> Response:
            return await next()

    App(Task, store="sqlite:///:memory:")
