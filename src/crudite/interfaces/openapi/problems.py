"""Every problem and fault that a client can meet, explained in HTML and in Markdown."""

import tomllib
from html import escape
from importlib.resources import files
from typing import NamedTuple

from crudite.errors import CruditeError, Problem


class Explanation(NamedTuple):
    """What a code means, its usual causes, and what helps."""

    meaning: str
    cause: str
    remedy: str


_TEXTS = tomllib.loads(files(__package__).joinpath("problems.toml").read_text("utf-8"))

PROBLEMS = {code: Explanation(**told) for code, told in _TEXTS["problems"].items()}
FAULTS = {code: Explanation(**told) for code, told in _TEXTS["faults"].items()}
VALUES: dict[str, str] = _TEXTS["values"]
"""The commonest codes of single values; they are Pydantic's types of errors."""


def problem_classes() -> list[type[Problem]]:
    """Every kind of problem, by its status and code."""
    found: list[type[Problem]] = []
    pending: list[type[CruditeError]] = [Problem]
    while pending:
        for kind in pending.pop().__subclasses__():
            if kind.__module__ == "crudite.errors" and issubclass(kind, Problem):
                found.append(kind)
                pending.append(kind)
    return sorted(found, key=lambda kind: (kind.status, kind.code))


def as_markdown() -> str:
    """`docs/reference/problems.md`."""
    parts = [_INTRODUCTION, "## Problems\n"]
    for kind in problem_classes():
        told = PROBLEMS[kind.code]
        parts.append(f"### {kind.code}\n\n**{kind.status} {kind.title}.** {told.meaning}\n\n{_cause(told)}\n")
    parts.append(f"## Faults\n\n{_ABOUT_FAULTS}\n\n| code | meaning | usual cause | what to do |\n|---|---|---|---|")
    parts += [f"| `{code}` | {told.meaning} | {told.cause} | {told.remedy} |" for code, told in FAULTS.items()]
    parts.append(f"\n## Values\n\n{_ABOUT_VALUES}\n\n| code | meaning |\n|---|---|")
    parts += [f"| `{code}` | {text} |" for code, text in VALUES.items()]
    return "\n".join(parts) + "\n"


def as_html() -> str:
    """What the page of problems shows: a section for each code, with the code as its anchor."""
    parts = ["<h2>Problems</h2>"]
    for kind in problem_classes():
        told = PROBLEMS[kind.code]
        parts.append(
            f'<section id="{kind.code}"><h3><a href="#{kind.code}"><code>{kind.code}</code></a> '
            f"<span>{kind.status} {escape(kind.title)}</span></h3>"
            f"<p><strong>{_inline(told.meaning)}</strong></p>"
            f"<p>{_inline(told.cause)}</p><p>{_inline(told.remedy)}</p></section>"
        )
    parts.append(f"<h2>Faults</h2><p>{_inline(_ABOUT_FAULTS)}</p><dl>")
    for code, told in FAULTS.items():
        anchor = code if code not in PROBLEMS else f"fault-{code}"
        text = f"{_inline(told.meaning)} {_inline(told.cause)} {_inline(told.remedy)}"
        parts.append(f'<div id="{anchor}"><dt><code>{code}</code></dt><dd>{text}</dd></div>')
    parts.append(f"</dl><h2>Values</h2><p>{_inline(_ABOUT_VALUES)}</p><dl>")
    parts += [
        f'<div id="{code}"><dt><code>{code}</code></dt><dd>{_inline(text)}</dd></div>' for code, text in VALUES.items()
    ]
    return "".join([*parts, "</dl>"])


def _cause(told: Explanation) -> str:
    return f"*Usual cause:* {told.cause}\n\n*What to do:* {told.remedy}"


def _inline(text: str) -> str:
    """Escaped text, with what stands between back-ticks as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))


_INTRODUCTION = """# Problems

Every failure, on every interface, is one JSON object (RFC 9457) with a stable `code`. Its `type` leads to the
entry of that code at `/docs/problems` of the running application, which shows what this page shows.

Application code raises them: `raise Conflict("The books are closed.")`, or with `faults=[Fault("closed", "That day is
over.", pointer="/day")]` for what is wrong where, and `headers={…}` for HTTP. For another status it makes one of its
own:

```python
from crudite import Problem


class PaymentRequired(Problem):
    status, code, title = 402, "payment_required", "Payment required"
```

`raise PaymentRequired("Fill the account up first.")` is told as that over every interface. `Problem` itself is a 500.
"""
_ABOUT_FAULTS = (
    "`errors` names every single thing that is wrong, with its place: `pointer` in a body, `parameter` in a URL."
)
_ABOUT_VALUES = "Faults of single values carry the type of Pydantic's error as their code. The commonest:"
