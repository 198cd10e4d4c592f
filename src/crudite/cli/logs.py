"""What the log of a served application looks like, unless the application has set up logging itself."""

import logging
import os
import sys


def configure(*, debug: bool = False) -> None:
    """Sends the log to standard error, one line for each entry; does nothing where logging is set up. The entries of
    one of several workers name it."""
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        worker = os.environ.get("CRUDITE_WORKER")
        who = f"[worker {worker}, pid %(process)d] " if worker else ""
        form = "%(levelname)s  %(message)s" if debug else f"%(asctime)s %(levelname)s {who}%(name)s: %(message)s"
        handler.setFormatter(logging.Formatter(form))
        root.addHandler(handler)
        root.setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
