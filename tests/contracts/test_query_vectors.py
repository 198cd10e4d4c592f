"""The conformance vectors: what queries mean, by hand-written example, for everything that evaluates them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import apsw
import pytest

from crudite.query.parse import parse_filter
from crudite.query.resolve import Resolver
from crudite.schema import Catalog, FieldSpec, FieldType, Link, Reference, ResourceSchema
from tests.unit.query.worlds import World, create_tables, images, insert

ROOT = Path(__file__).parents[2]
VECTORS = json.loads((ROOT / "tests/vectors/query.json").read_text("utf-8"))
CLIENT = ROOT / "src/crudite/interfaces/browser/crudite.js"


def type_of(given: dict[str, Any]) -> FieldType:
    members = {name: type_of(inner) for name, inner in given["members"].items()} if "members" in given else None
    item, values = (type_of(given[part]) if part in given else None for part in ("item", "values"))
    return FieldType(given["kind"], places=given.get("places", 0), members=members, item=item, values=values)


def schema_of(name: str, given: dict[str, Any]) -> ResourceSchema:
    fields = {"id": FieldSpec("id", FieldType(given["key"]))}
    for field, part in given["fields"].items():
        reference = Reference(part["reference"], enforced=False) if "reference" in part else None
        fields[field] = FieldSpec(field, type_of(part), nullable=part.get("nullable", False), reference=reference)
    fields["version"] = FieldSpec("version", FieldType("integer"))
    links = {link: Link(link, part["target"], part["field"]) for link, part in given.get("links", {}).items()}
    return ResourceSchema(name, name.lower(), name.lower(), fields, links=links)


def make_world() -> World:
    catalog = Catalog({name: schema_of(name, given) for name, given in VECTORS["resources"].items()})
    world = World(catalog, apsw.Connection(":memory:"))
    create_tables(world.database, catalog)
    for name, records in VECTORS["records"].items():
        for record in records:
            insert(world.database, catalog[name], {**record, "version": 1})
        world.records[name] = images(world.database, catalog[name])
    return world


WORLD = make_world()
CASES = [pytest.param(case, id=case["name"]) for case in VECTORS["cases"]]


def asked(case: dict[str, Any]) -> tuple[Any, Any]:
    resolver = Resolver(WORLD.catalog[case["of"]], WORLD.catalog)
    question = resolver.filter(parse_filter(case.get("where", {}))), resolver.sort(case.get("sort", ()))
    resolver.check()
    return question


@pytest.mark.parametrize("case", CASES)
def test_the_matcher_agrees(case: dict[str, Any]) -> None:
    assert WORLD.matched(case["of"], *asked(case)) == case["expect"]


@pytest.mark.parametrize("case", CASES)
def test_sqlite_agrees(case: dict[str, Any]) -> None:
    assert WORLD.selected(case["of"], *asked(case)) == case["expect"]


def test_the_browser_client_sorts_the_same(node: str) -> None:
    cases = [case for case in VECTORS["cases"] if "sort" in case and "where" not in case]
    own = [case for case in cases if all(key.path.is_own for key in asked(case)[1])]
    questions = [
        {
            "records": WORLD.records[case["of"]],
            "sort": [
                {"field": ".".join(key.path.names), "descending": key.descending, "type": key.path.type.kind}
                for key in asked(case)[1]
            ],
        }
        for case in own
    ]
    assert len(questions) > 10
    program = f"""
        import {{ compareRecords }} from {json.dumps(CLIENT.as_uri())}
        const questions = {json.dumps(questions)}
        const answers = questions.map(q => q.records.reverse().sort(compareRecords(q.sort)).map(r => r.id))
        console.log(JSON.stringify(answers))
    """
    # told that it is a module, Node does not guess, nor warn about it
    command = [node, "--no-warnings", "--input-type=module", "--eval", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    answers = dict(zip([case["name"] for case in own], json.loads(done.stdout), strict=True))
    assert answers == {case["name"]: case["expect"] for case in own}
