"""Instances hold the values of one record, and nothing happens behind them."""

import copy
import pickle
from datetime import date
from uuid import UUID

import pytest

from crudite.resources.declaring.declare import Record, Resource
from crudite.resources.declaring.fields import Field, Password, Ref
from crudite.rules import me
from tests.unit.resources.shop import Account, Country, Everything, Project, Task

KEY = UUID("0194f3a0-0000-7000-8000-000000000001")


def test_an_instance_has_its_values_and_its_defaults() -> None:
    task = Task(project=KEY, title="Ship it", due=date(2026, 12, 1))

    assert (task.project, task.title, task.status, task.due) == (KEY, "Ship it", "todo", date(2026, 12, 1))


def test_what_is_not_known_yet_says_so() -> None:
    project = Project(name="Crudite")

    for name in ("id", "version", "owner"):
        with pytest.raises(AttributeError, match=f"has no '{name}' yet"):
            getattr(project, name)
    with pytest.raises(AttributeError, match="is not loaded"):
        _ = project.members
    with pytest.raises(AttributeError, match="no field 'nmae'"):
        project.nmae  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(project, "owner")


def test_every_record_gets_a_default_of_its_own() -> None:
    first, second = (
        Account(email="a@b.cc", name="A", password="x"),
        Account(email="a@b.cc", name="A", password="x"),
    )

    first.roles.append("admin")

    assert second.roles == []


def test_wrong_names_are_refused() -> None:
    with pytest.raises(TypeError, match="Task has no field 'titel', 'members'"):
        Task(titel="x", members=[])  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="Task needs 'project', 'title'"):
        Task()  # type: ignore[call-arg]
    with pytest.raises(AttributeError, match="Task has no field 'titel'"):
        Task(project=KEY, title="x").titel = "y"  # type: ignore[attr-defined]


def test_a_reference_takes_a_record_and_holds_its_key() -> None:
    country = Country(id="de", name="Germany")

    class City(Resource):
        country: Ref[Country]

    city = City(country=country)
    assert city.country == "de"
    city.country = Country(id="fr", name="France")
    assert city.country == "fr"


def test_a_reference_to_a_record_without_key_is_refused() -> None:
    with pytest.raises(ValueError, match="Account has no key yet"):
        Project(name="x", owner=Account(email="a@b.cc", name="A", password="x"))


def test_instances_are_equal_by_class_and_values() -> None:
    class Twin(Record[str]):
        name: str

    assert Country(id="de", name="Germany") == Country(id="de", name="Germany")
    assert Country(id="de", name="Germany") != Country(id="de", name="France")
    assert Country(id="de", name="Germany") != Twin(id="de", name="Germany")
    assert Country(id="de", name="Germany") != Country(name="Germany")
    with pytest.raises(TypeError, match="unhashable"):
        hash(Country(name="Germany"))


def test_an_instance_prints_its_values_but_no_secret() -> None:
    class Vault(Resource):
        label: str
        pin: Password
        spare: "Password | None" = None
        code: str = Field(visible="secret")

    vault = Vault(label="x", pin="hunter2", spare="hunter3", code="hunter4")

    assert repr(vault) == "Vault(label='x')"


def test_instances_can_be_copied_and_pickled() -> None:
    task = Task(project=KEY, title="Ship it")

    assert copy.deepcopy(task) == copy.copy(task) == pickle.loads(pickle.dumps(task)) == task


def test_a_symbol_is_no_value() -> None:
    class One(Resource):
        owner: str = Field(default=me.id)

    assert not hasattr(One(), "owner")


def test_fields_are_not_attributes_of_the_class() -> None:
    assert not hasattr(Everything, "note")
    assert not hasattr(Task, "status")
