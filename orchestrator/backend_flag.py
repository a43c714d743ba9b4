"""Whether ComfyUI is started with `--cpu`: a torch that was built for the CPU alone needs it. Pure.

ComfyUI refuses `--cpu` beside an option of the same group, so what its arguments choose is left as it is.
"""

import argparse
import functools
from collections.abc import Sequence
from typing import Final

from orchestrator.quiet_parser import QuietParser, UnparsableError
from orchestrator.world import TorchBuild, TorchFacts

_FLAGS: Final = ("--cpu", "--gpu-only", "--highvram", "--normalvram", "--lowvram", "--novram")
_VALUED: Final = ("--cuda-device", "--default-device", "--oneapi-device-selector")


@functools.cache
def _parser() -> QuietParser:
    """Knows the options that choose a device, and no other.

    An abbreviation of one of them is the same to ComfyUI, or ambiguous to it: none of its other options is the beginning
    of one of these.
    """
    parser = QuietParser(prog="main.py", add_help=False, argument_default=argparse.SUPPRESS)
    for flag in _FLAGS:
        parser.add_argument(flag, action="store_true")
    for valued in _VALUED:
        parser.add_argument(valued)
    parser.add_argument("--directml", nargs="?")
    return parser


def chooses_device(arguments: Sequence[str]) -> bool:
    """Whether `arguments` say what ComfyUI is to run on, or how it is to use the GPU; also where it will refuse them."""
    try:
        known, _others = _parser().parse_known_args(list(arguments))
    except UnparsableError:
        return True
    return bool(vars(known))


def with_backend_flag(arguments: tuple[str, ...], torch: TorchFacts | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """`arguments`, after `--cpu` where that is needed and they choose nothing else; and a sentence on it, or none."""
    if torch is None or torch.build is TorchBuild.ACCELERATED or chooses_device(arguments):
        return arguments, ()
    if torch.build is TorchBuild.UNKNOWN:
        return arguments, (f"{torch.problem}; --cpu was not added",)
    version = f" {torch.version}" if torch.version else ""
    return ("--cpu", *arguments), (f"--cpu was added: torch{version} of the environment is a CPU build",)
