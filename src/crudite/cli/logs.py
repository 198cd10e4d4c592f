"""What the log of a served application looks like, unless the application has set up logging itself."""

import logging
import sys


def configure(*, debug: bool = False) -> None:
    """Sends the log to standard error, one line for each entry; does nothing where logging is set up."""
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        form = "%(levelname)s  %(message)s" if debug else "%(asctime)s %(levelname)s %(name)s: %(message)s"
        handler.setFormatter(logging.Formatter(form))
        root.addHandler(handler)
        root.setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
