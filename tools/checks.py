"""What `tools/test` does: lint, format, types, layers, docs and tests, each with its result and its time.

Standard library only at import, so that --help needs no `.venv`.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COVERAGE_FLOOR_PERCENT = 90
MOST_WORKERS = 4
SELECTING_OPTIONS = {
    "--lf",
    "--last-failed",
    "--sw",
    "--stepwise",
    "--co",
    "--collect-only",
    "--deselect",
    "--ignore",
    "--ignore-glob",
}
EXAMPLES = """\
  tools/test                                  everything, with coverage: what CI runs
  tools/test --fast                           static checks and quick tests, under 30 s
  tools/test tests/unit/test_clock.py -v      one file; no static checks
  tools/test --integration -k lock -x         what follows goes to pytest
  tools/test -n 0 -p no:randomly -k adopt     one process, in order, to debug

"""


@dataclass(frozen=True)
class Result:
    """How one step went. `output` is "" for one that wrote to the terminal itself."""

    title: str
    code: int
    duration_s: float
    output: str


@dataclass(frozen=True)
class Wish:
    """What is to run: the static checks or not, and pytest with these arguments."""

    static: bool
    pytest: tuple[str, ...]


def main(argv: Sequence[str]) -> int:
    """Run what `argv` asks for, all of it even when a step fails; 0 when every step succeeded, else 1."""
    wish = understand(argv)
    began = time.perf_counter()
    try:
        results = run_all(wish)
    except KeyboardInterrupt:
        return 130
    print(summarise(results, time.perf_counter() - began))
    return int(any(result.code for result in results))


def understand(argv: Sequence[str]) -> Wish:
    """The wish behind the command line. A selection of tests leaves out the static checks, coverage and its floor."""
    options, rest = parser().parse_known_args(argv)
    workers = min((os.cpu_count() or 2) + 2, MOST_WORKERS)  # more than cores: most of what takes long waits
    folders = [name for name, chosen in (("unit", options.unit), ("integration", options.integration)) if chosen]
    selection = bool(folders) or any(_selects(argument) for argument in rest)
    whole = not options.fast and not selection
    marks = ["not slow and not e2e"] if options.fast else []
    marks += [f"({' or '.join(folders)})"] if folders else []
    arguments = ["--cov"] if options.cov or whole else []  # never before a file, which it would take for its value
    arguments += ["-n", str(workers), "--dist", "worksteal"]
    if marks:
        arguments += ["-m", " and ".join(marks)]
    if whole:
        arguments += [f"--cov-fail-under={COVERAGE_FLOOR_PERCENT}"]
    if options.long:
        arguments += ["--hypothesis-profile=long", "--timeout=900"]
    return Wish(static=not selection, pytest=(*arguments, *rest))


def static_steps() -> dict[str, list[str]]:
    """The checks that run nothing of ours: title to command."""
    scripts = Path(sys.executable).parent
    return {
        "ruff check": [sys.executable, "-m", "ruff", "check", "."],
        "ruff format": [sys.executable, "-m", "ruff", "format", "--check", "."],
        "mypy": [sys.executable, "-m", "mypy"],
        "import-linter": [str(scripts / "lint-imports"), "--no-logo"],
        "docs: events": [sys.executable, "tools/event_catalogue.py", "--check"],
        "docs: reference": [sys.executable, "tools/quick_reference.py", "--check"],
    }


def run_all(wish: Wish) -> list[Result]:
    """Run the steps: the static ones beside pytest, whose children leave a core idle now and then."""
    if not wish.static:
        return [_run_pytest(wish.pytest)]
    with ThreadPoolExecutor(max_workers=2) as pool:
        running = [pool.submit(_run_static, title, command) for title, command in static_steps().items()]
        try:
            tests = _run_pytest(wish.pytest)
            static = _shown(step.result() for step in running)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    return [*static, tests]


def summarise(results: Sequence[Result], total_s: float) -> str:
    """One line per step and one for the whole."""
    lines = [
        f"{'FAILED' if result.code else 'ok':<8}{result.title:<20}{result.duration_s:7.1f} s" for result in results
    ]
    failed = sum(bool(result.code) for result in results)
    verdict = f"{failed} of {len(results)} steps failed" if failed else "all steps ok"
    return "\n".join(["", *lines, f"{verdict} in {total_s:.1f} s"])


class _Parser(argparse.ArgumentParser):
    def format_help(self) -> str:
        return EXAMPLES + super().format_help()


def parser() -> argparse.ArgumentParser:
    """Its own options; all others are for pytest."""
    ours = _Parser(
        prog="tools/test",
        usage="tools/test [--fast] [--unit] [--integration] [--cov] [--long] [FILE ...] [pytest options]",
        description="Runs every check. The first run makes the .venv.",
        allow_abbrev=False,
    )
    ours.add_argument("--fast", action="store_true", help="without what is marked slow or e2e, and without coverage")
    ours.add_argument("--unit", action="store_true", help="only the pure tests")
    ours.add_argument("--integration", action="store_true", help="only those with real SQLite, processes, sockets")
    ours.add_argument("--cov", action="store_true", help="measure coverage (the whole run does, and demands 90 %%)")
    ours.add_argument(
        "--long", action="store_true", help="many more examples, 10,000 histories, 2,000 kills, all mutants and sweeps"
    )
    return ours


def _selects(argument: str) -> bool:
    """Whether a pytest argument leaves tests out: a path, or an option that chooses."""
    if argument.startswith("-"):
        return argument.startswith(("-k", "-m")) or argument.partition("=")[0] in SELECTING_OPTIONS
    return "/" in argument or ".py" in argument or (ROOT / argument).exists()


def _run_static(title: str, command: list[str]) -> Result:
    began = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return Result(title, done.returncode, time.perf_counter() - began, done.stdout + done.stderr)


def _run_pytest(arguments: Sequence[str]) -> Result:
    """pytest, on this terminal. At Ctrl-C it gets the time to clean up after itself."""
    began = time.perf_counter()
    sys.stdout.flush()
    with subprocess.Popen([sys.executable, "-m", "pytest", *arguments], cwd=ROOT) as child:
        try:
            code = child.wait()
        except KeyboardInterrupt:
            child.wait()
            raise
    return Result("pytest", code, time.perf_counter() - began, "")


def _shown(results: Iterable[Result]) -> list[Result]:
    shown = []
    for result in results:
        print(_line(result), flush=True)
        if result.code:
            print(result.output.rstrip(), flush=True)
        shown.append(result)
    return shown


def _line(result: Result) -> str:
    return f"{'FAILED' if result.code else 'ok':<8}{result.title:<20}{result.duration_s:7.1f} s"
