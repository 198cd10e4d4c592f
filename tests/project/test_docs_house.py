"""The documentation leads nowhere that does not exist."""

import dataclasses
import re
import subprocess
from itertools import takewhile
from pathlib import Path

import pytest

from crudite import ChannelLimits, Limits, LiveLimits

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def anchor(heading: str) -> str:
    """The anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    text = FENCE.sub("", page.read_text("utf-8"))
    return {anchor(heading) for heading in re.findall(r"^#+\s+(.*)$", text, re.MULTILINE)}


def broken(page: Path) -> list[str]:
    """The links of a page, to files of this repository, that lead nowhere."""
    text = CODE.sub("", FENCE.sub("", page.read_text("utf-8")))
    found = []
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, part = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (part and target.suffix == ".md" and part not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_internal_link_of_the_page_leads_somewhere(page: Path) -> None:
    assert broken(page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_command_on_the_page_exists(page: Path) -> None:
    commands = re.findall(r"(?:^|`)make ([a-z]+)", page.read_text("utf-8"), re.MULTILINE)
    assert set(commands) - TARGETS == set()


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "coming-from").glob("*.md")), ids=lambda page: page.stem)
def test_every_table_for_those_who_come_from_elsewhere_has_rows_as_wide_as_its_head(page: Path) -> None:
    lines = CODE.sub("", FENCE.sub("", page.read_text("utf-8"))).splitlines()
    heads = [number for number, line in enumerate(lines) if re.fullmatch(r"\|(-+\|)+", line)]
    assert heads
    for number in heads:
        rows = list(takewhile(lambda line: line.startswith("|"), lines[number + 1 :]))
        assert rows, f"the table {lines[number - 1]!r} in line {number} is empty"
        assert {row.count("|") for row in rows} == {lines[number].count("|")}


def test_the_two_commands_of_the_readme_are_demo_and_test() -> None:
    shown = re.findall(r"^make ([a-z]+)", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert shown[:2] == ["demo", "test"]


def test_bare_make_lists_every_command_that_has_an_explanation() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True).stdout
    assert {"demo", "test", "check", "fix", "bench", "docs"} <= set(re.findall(r"make ([a-z]+)", listed))


def test_every_limit_is_documented_with_its_default() -> None:
    page = (ROOT / "docs/reference/http.md").read_text("utf-8")

    for limit in (one for one in dataclasses.fields(Limits) if one.name not in ("live", "channels")):
        row = next((line for line in page.splitlines() if line.startswith(f"| `{limit.name}`")), "")
        assert f"| {limit.default:,} |" in row, f"{limit.name} is not in the table of docs/reference/http.md"


def test_every_limit_of_channels_is_documented_with_its_default() -> None:
    page = (ROOT / "docs/reference/channels.md").read_text("utf-8")
    missing = [one for one in dataclasses.fields(ChannelLimits) if f"| `{one.name}` | {one.default:,} |" not in page]
    assert missing == []


def test_every_limit_of_the_live_engine_is_documented() -> None:
    page = (ROOT / "docs/explanation/live-queries.md").read_text("utf-8")
    rows = "".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| "))
    assert [one.name for one in dataclasses.fields(LiveLimits) if f"`{one.name}`" not in rows] == []
