"""The real ComfyUI's options that matter to whoever starts it."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

EVERY_ADDRESS = "0.0.0.0,::"
"""What a bare --listen means."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What the command line asks for; the defaults are ComfyUI's."""

    listen: str
    port: int
    tls_keyfile: str | None
    tls_certfile: str | None
    temp_directory: str | None
    disable_all_custom_nodes: bool
    whitelist_custom_nodes: tuple[str, ...]
    quick_test_for_ci: bool
    dont_print_server: bool
    log_stdout: bool

    def temp_folder(self, home: Path) -> Path:
        """Give the folder that each start deletes; by default one beside `main.py`."""
        return Path(self.temp_directory or home).resolve() / "temp"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="main.py")
    parser.add_argument("--listen", default="127.0.0.1", nargs="?", const=EVERY_ADDRESS)
    parser.add_argument("--port", type=int, default=8188)
    parser.add_argument("--tls-keyfile")
    parser.add_argument("--tls-certfile")
    parser.add_argument("--temp-directory")
    parser.add_argument("--disable-all-custom-nodes", action="store_true")
    parser.add_argument("--whitelist-custom-nodes", nargs="+", default=[])
    parser.add_argument("--quick-test-for-ci", action="store_true")
    parser.add_argument("--dont-print-server", action="store_true")
    parser.add_argument("--log-stdout", action="store_true")
    for ignored in ("--cpu", "--enable-manager", "--auto-launch"):
        parser.add_argument(ignored, action="store_true")
    parser.add_argument("--extra-model-paths-config", nargs="+", action="append")
    return parser


def parse(argv: Sequence[str]) -> Arguments:
    """Read `argv` (without the program). Unknown options pass: the real one exits 2."""
    found, _unknown = _parser().parse_known_args(argv)
    return Arguments(
        listen=found.listen,
        port=found.port,
        tls_keyfile=found.tls_keyfile,
        tls_certfile=found.tls_certfile,
        temp_directory=found.temp_directory,
        disable_all_custom_nodes=found.disable_all_custom_nodes,
        whitelist_custom_nodes=tuple(found.whitelist_custom_nodes),
        quick_test_for_ci=found.quick_test_for_ci,
        dont_print_server=found.dont_print_server,
        log_stdout=found.log_stdout,
    )
