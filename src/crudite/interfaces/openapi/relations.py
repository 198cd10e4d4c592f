"""The schemas of what leads to other records: what can be included, and links that can be set."""

from crudite.interfaces.openapi.values import Schema, shown_fields
from crudite.query.plan import MOST_INCLUDED
from crudite.query.resolve import MAX_INCLUDES
from crudite.resources.declaring.definition import REF, Definition
from crudite.schema import Link


def included(definition: Definition) -> dict[str, Schema]:
    """What each reference and link of a resource can include."""
    references = [(s.name, s.reference) for s in shown_fields(definition) if s.reference is not None]
    ones = {name: reference.target for name, reference in references if reference.may_include}
    links = [link for link in definition.links.values() if link.may_include]
    ones.update({link.name: link.leads_to for link in links if link.is_one})
    many = [link for link in links if not link.is_one]
    return {
        **{name: {"anyOf": [_record(target), {"type": "null"}]} for name, target in ones.items()},
        **{link.name: {"type": "array", "items": _record(link.leads_to), "maxItems": MOST_INCLUDED} for link in many},
    }


def include_paths(definition: Definition) -> Schema:
    """What a path of `include` looks like; empty where a resource leads to no other records."""
    names = included(definition)
    return {"type": "string", "pattern": rf"^({'|'.join(names)})(\.[A-Za-z0-9_]+)*$"} if names else {}


def include_member(definition: Definition) -> dict[str, Schema]:
    """`include` as a query in JSON has it, where there is anything to include."""
    path = include_paths(definition)
    paths = {"type": "array", "items": path, "maxItems": MAX_INCLUDES}
    text = "Which references and links are followed: `project.owner`."
    return {"include": {"anyOf": [paths, {"type": "null"}], "description": text}} if path else {}


def describe_link(schema: Schema, link: Link, *, wants_key: bool) -> None:
    """Says what a body takes for a link that can be set; one that `wants_key` says the key of its record as well."""
    what = f"The key of the {link.leads_to} that" if link.is_one else f"The keys of all {link.leads_to} records that"
    numbered = " With any, the body gives the new record's own key, too." if wants_key else ""
    schema["description"] = f"{what} it leads to from now on; left away, nothing changes.{numbered}"


def _record(name: str) -> Schema:
    return {"$ref": REF.format(model=name)}
