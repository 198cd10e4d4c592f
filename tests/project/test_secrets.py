"""What looks through the logs of all tests does find what it looks for."""

import logging

from tests.services.secrets import PLANTED, _scan


def test_a_secret_in_a_log_is_found() -> None:
    logging.getLogger("crudite").warning("somebody signs in with %s", "correct horse")
    logging.getLogger("crudite").warning("nothing")
    try:
        raise ValueError("crs_" + "A" * 43)
    except ValueError:
        logging.getLogger("crudite.store").exception("it failed")
    assert [text.split(":")[0] for text in _scan.found] == ["crudite", "crudite.store"]
    _scan.found.clear()


def test_what_only_looks_like_one_is_none() -> None:
    assert not PLANTED.search("crs_ is what tokens begin with; horses are correct; crd_short")
