"""The records of the nested list that every peer stores: tasks of projects, each with a person who does it."""

from typing import TypedDict

PEOPLE, PROJECTS, EACH = 200, 200, 100  # tasks in each project
SYSTEM = {"id": int, "version": int, "created_at": str, "updated_at": str}
PERSON = {**SYSTEM, "name": str, "email": str}
TASK = {**SYSTEM, "project": int, "title": str, "done": bool}
"""What a person and a task have in JSON, with the type of each; the task has its person besides."""


class Person(TypedDict):
    """Who does tasks."""

    name: str
    email: str


class Project(TypedDict):
    """What tasks belong to."""

    name: str


class Task(TypedDict):
    """What is to be done; both keys count from 1."""

    project: int
    assignee: int
    title: str
    done: bool


def person(key: int) -> Person:
    """The person with a key."""
    return {"name": f"Person number {key:03}", "email": f"person{key}@example.org"}


def project(key: int) -> Project:
    """The project with a key."""
    return {"name": f"Project number {key:03}"}


def task(key: int) -> Task:
    """The task with a key: those of a project follow each other, and few of them have the same person."""
    return {
        "project": 1 + (key - 1) // EACH,
        "assignee": 1 + key * 7 % PEOPLE,
        "title": f"Task number {key:06}",
        "done": key % 3 == 0,
    }
