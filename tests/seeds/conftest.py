"""What older systems promised is told on both stores: see `tests.services.stores`."""

from tests.services.stores import kind_of_store, pytest_generate_tests

__all__ = ["kind_of_store", "pytest_generate_tests"]
