"""What a supervisor starts: `python main.py --port 8188`, in its own folder."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from comfyui_stand_in import command_line, misbehaviour, start_up

log = logging.getLogger(__name__)

BAD_ORDERS = 78
"""Exit code when `misbehave.json` is wrong: no code that a test would ask for."""

CERTIFICATES = "SSL_CERT_FILE"


def main() -> None:
    """Live once."""
    arguments = command_line.parse(sys.argv[1:])
    # ComfyUI logs to stderr, without time or level; --log-stdout moves it.
    stream = sys.stdout if arguments.log_stdout else sys.stderr
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=stream)
    home = Path(__file__).resolve().parent
    try:
        orders = misbehaviour.at_this_start(home)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(BAD_ORDERS)
    start_up.misbehave(orders, home)
    log.info("Python version: %s", sys.version)

    # Late: aiohttp takes 0.3 s, and a start that dies early need not wait for it.
    with _without_ca_certificates():
        from comfyui_stand_in import serving

    serving.run(home, arguments, orders)


@contextmanager
def _without_ca_certificates() -> Iterator[None]:
    """Spare aiohttp the system's certificates: it reads them twice at import, a fifth of our start."""
    before = os.environ.get(CERTIFICATES)
    os.environ[CERTIFICATES] = os.devnull
    yield
    del os.environ[CERTIFICATES]
    if before is not None:
        os.environ[CERTIFICATES] = before


if __name__ == "__main__":
    main()
