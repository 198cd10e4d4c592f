"""Declare a resource once; every client gets it live, over the interface that it already speaks."""

__all__: list[str] = []
