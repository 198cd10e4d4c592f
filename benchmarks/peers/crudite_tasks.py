"""Crudite, as its documentation shows it: what belongs together is declared, and `?include=` shows it."""

from crudite import App, Limits, Parent, Record, Ref, allow


class Person(Record[int], rules=allow.everyone, path="people"):
    name: str
    email: str


class Project(Record[int], rules=allow.everyone):
    name: str


class Task(Record[int], rules=allow.everyone):
    project: Parent[Project]
    assignee: Ref[Person]
    title: str
    done: bool


app = App(Person, Project, Task, limits=Limits(connections=20_000, arrivals=20_000))
