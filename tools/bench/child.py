"""What is supervised: the smallest program that says when it lives and answers as a ComfyUI does. Copied as `main.py`.

It appends lines `what monotonic_ns pid` to `stamps` beside itself: `start` first of all, then `ready`, `answer`, `asked`, `exit`.
SIGUSR1: it leaves with 42; SIGINT, SIGTERM: with 0. `--port N`: it answers there, and leaves with 1 (`doomed`) where it cannot.
`--tree`: it starts a process in a session of its own, and one whose parent ends at once.
"""

import time

STARTED_NS = time.monotonic_ns()

import os  # noqa: E402 - the stamp comes first
import signal  # noqa: E402
import sys  # noqa: E402

HOME = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib takes as long as all the rest
STAMPS = os.open(f"{HOME}/stamps", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
BODY = b'{"system": {}}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(
    BODY
)


def stamp(what: str, at_ns: int = 0) -> None:
    """One line, in one write."""
    os.write(STAMPS, f"{what} {at_ns or time.monotonic_ns()} {os.getpid()}\n".encode())


def leave(number: int, _frame: object) -> None:
    """The end, at once."""
    stamp("exit")
    os._exit(42 if number == signal.SIGUSR1 else 0)


def leave_asked(number: int, frame: object) -> None:
    """The end that a supervisor asked for."""
    stamp("asked")
    leave(number, frame)


def start_tree() -> None:
    """A process in a session of its own, and an orphan: nothing but the environment says where they come from."""
    os.environ["BENCH_TREE"] = f"{HOME}:{os.getpid()}"
    if os.fork() == 0:
        os.setsid()
        os.execv("/bin/sleep", ["sleep", "600"])  # noqa: S606
    middle = os.fork()
    if middle == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.execv("/bin/sleep", ["sleep", "600"])  # noqa: S606
    os.waitpid(middle, 0)


def serve(port: int) -> None:
    """Answer everybody the same."""
    import socket

    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind(("127.0.0.1", port))
        server.listen()
    except OSError:
        stamp("doomed")
        os._exit(1)
    stamp("ready")
    while True:
        client, _ = server.accept()
        with client:
            client.recv(65536)
            stamp("answer")
            client.sendall(ANSWER + BODY)


def main(argv: list[str]) -> None:
    """Live once."""
    stamp("start", STARTED_NS)
    signal.signal(signal.SIGUSR1, leave)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave_asked)
    if "--tree" in argv:
        start_tree()
    if "--port" in argv:
        serve(int(argv[argv.index("--port") + 1]))
    stamp("ready")
    while True:
        signal.pause()


if __name__ == "__main__":
    main(sys.argv)
