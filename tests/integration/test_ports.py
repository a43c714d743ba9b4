import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from journal.identity import identify, own_identity
from orchestrator.network import listeners
from orchestrator.network.ports import PortHolder, can_bind, is_port_open, owns_listener, port_holders
from tests.helpers.child_scripts import PYTHON

HAS_IPV6 = socket.has_ipv6 and can_bind("::1", 0)

LISTEN = """
import socket, signal, sys
server = socket.socket()
server.bind((sys.argv[1], int(sys.argv[2])))
server.listen()
print(server.getsockname()[1], flush=True)
signal.pause()
"""


@contextlib.contextmanager
def listening_socket(host: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as asyncio's servers do
        server.bind((host, 0))
        server.listen()
        yield server


@contextlib.contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[int]:
    with listening_socket(host) as server:
        yield server.getsockname()[1]


@contextlib.contextmanager
def child_listening(host: str = "127.0.0.1", port: int = 0, **options) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    process = subprocess.Popen([*PYTHON, LISTEN, host, str(port)], stdout=subprocess.PIPE, **options)
    assert process.stdout is not None
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def closed_port() -> int:
    with listening() as port:
        pass
    return port


class TestOpen:
    @pytest.mark.scenario("HC-06")
    def test_a_port_that_accepts_is_open(self):
        with listening() as port:
            assert is_port_open("127.0.0.1", port, 2.0)
            assert is_port_open("localhost", port, 2.0)

    @pytest.mark.scenario("HC-07")
    def test_a_port_without_a_listener_is_closed(self, closed_port):
        assert not is_port_open("127.0.0.1", closed_port, 2.0)

    @pytest.mark.scenario("HC-07")
    def test_a_port_that_is_bound_but_not_listened_on_is_closed(self):
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            assert not is_port_open("127.0.0.1", bound.getsockname()[1], 2.0)

    @pytest.mark.scenario("HC-07")
    @pytest.mark.parametrize(
        ("host", "port"), [("127.0.0.1", 65536), ("127.0.0.1", -1), ("no.such.host.invalid", 80), ("x" * 300, 80)]
    )
    def test_what_is_no_address_is_closed(self, host, port):
        assert not is_port_open(host, port, 2.0)

    @pytest.mark.scenario("HC-07")
    def test_a_full_backlog_is_closed_after_the_timeout(self):
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(socket.socket())
            server.bind(("127.0.0.1", 0))
            server.listen(0)
            for _ in range(8):
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    client.connect(server.getsockname())
            assert not is_port_open("127.0.0.1", server.getsockname()[1], 0.1)


class TestFree:
    def test_a_free_port_can_be_bound_and_is_not_kept(self, closed_port):
        assert can_bind("127.0.0.1", closed_port)
        assert can_bind("127.0.0.1", closed_port)

    def test_a_port_listened_on_cannot(self):
        with listening() as port:
            assert not can_bind("127.0.0.1", port)
            assert not can_bind("0.0.0.0", port)
            assert not can_bind("", port)

    def test_another_address_of_the_machine_can(self):
        with listening("127.0.0.2") as port:
            assert can_bind("127.0.0.1", port)

    def test_a_connection_that_is_still_closing_does_not_count(self):
        """TIME_WAIT on the server's side: what a restart finds."""
        with listening_socket() as server, socket.create_connection(server.getsockname()) as client:
            port = server.getsockname()[1]
            accepted, _ = server.accept()
            accepted.close()
            assert client.recv(1) == b""
        assert can_bind("127.0.0.1", port)

    @pytest.mark.parametrize(
        ("host", "port"),
        [("192.0.2.1", 0), ("no.such.host.invalid", 0), ("127.0.0.1", 65536), ("127.0.0.1", -1), ("x" * 300, 0)],
    )
    def test_what_is_no_address_of_ours_cannot(self, host, port):
        assert not can_bind(host, port)

    @pytest.mark.skipif(not HAS_IPV6, reason="no IPv6 here")
    def test_ipv6(self):
        with listening("::1") as port:
            assert not can_bind("::1", port)
            assert not can_bind("::", port)
            assert is_port_open("::1", port, 2.0)


class TestWho:
    def test_the_holder_is_named(self, tmp_path):
        with child_listening(cwd=tmp_path) as (process, port):
            (holder,) = port_holders(port)
            assert holder.identity == identify(process.pid)
            assert "signal.pause()" in holder.command
            assert holder.cwd == str(tmp_path)

    def test_nobody_holds_a_closed_port_nor_one_that_is_only_connected_from(self, closed_port):
        assert port_holders(closed_port) == ()
        with listening() as port, socket.create_connection(("127.0.0.1", port)) as client:
            assert port_holders(client.getsockname()[1]) == ()

    def test_a_holder_that_cannot_be_seen_is_listed_without_an_identity(self):
        """As another user, who may not look into our processes."""
        if os.geteuid() != 0:
            pytest.skip("needs root to become somebody else")
        with child_listening() as (_, port):
            reader, writer = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.setuid(65534)
                os.write(writer, repr(port_holders(port)).encode())
                os._exit(0)
            os.waitpid(pid, 0)
            os.close(writer)
            with os.fdopen(reader) as answer:
                assert answer.read() == repr((PortHolder(None, "", ""),))

    def test_a_socket_held_by_two_processes_names_both(self):
        with listening() as port:
            process = subprocess.Popen([*PYTHON, "import signal; signal.pause()"], pass_fds=[_descriptor(port)])
            try:
                assert {holder.identity for holder in port_holders(port)} == {own_identity(), identify(process.pid)}
            finally:
                process.kill()
                process.wait()

    def test_psutils_way_agrees(self):
        with child_listening() as (process, port):
            assert list(listeners._psutil_pids(port)) == [process.pid]
            assert listeners._psutil_listens(process.pid, port)
            assert not listeners._psutil_listens(os.getpid(), port)
            assert not listeners._psutil_listens(10_000_001, port)


def _descriptor(port: int) -> int:
    """Our own descriptor of the socket that listens on `port`."""
    (inode,) = (one.inode for one in listeners._sockets(port))
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(link.readlink()) == f"socket:[{inode}]":
                return int(link.name)
    pytest.fail("no such descriptor")


class TestWhoseSocketAnswered:
    def test_the_trees_own(self):
        with child_listening() as (process, port):
            child = identify(process.pid)
            assert child is not None
            assert owns_listener([own_identity(), child], port)
            assert owns_listener([child], port, "127.0.0.1")
            assert not owns_listener([own_identity()], port)
            assert not owns_listener([], port)

    def test_a_stale_identity_owns_nothing(self):
        import attrs

        with listening() as port:
            ours = own_identity()
            assert owns_listener([ours], port)
            assert not owns_listener([attrs.evolve(ours, start_ticks=ours.start_ticks - 1)], port)

    def test_nobody_owns_a_closed_port(self, closed_port):
        assert not owns_listener([own_identity()], closed_port)
        assert not owns_listener([own_identity()], closed_port, "127.0.0.1")

    def test_a_stranger_on_the_very_address_answers_in_our_place(self):
        with listening("127.0.0.2") as port, child_listening("127.0.0.1", port) as (process, _):
            child = identify(process.pid)
            assert child is not None
            assert owns_listener([own_identity()], port)
            assert owns_listener([own_identity()], port, "127.0.0.2")
            assert not owns_listener([own_identity()], port, "127.0.0.1")
            assert owns_listener([child], port, "127.0.0.1")
            assert owns_listener([child], port, "0.0.0.0"), "connecting to 0.0.0.0 reaches 127.0.0.1"

    def test_a_listener_at_every_address_answers_for_each(self):
        with listening("0.0.0.0") as port:
            assert owns_listener([own_identity()], port, "127.0.0.1")
            assert owns_listener([own_identity()], port, "localhost")

    @pytest.mark.skipif(not HAS_IPV6, reason="no IPv6 here")
    def test_a_dual_stack_listener_answers_for_ipv4(self):
        with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
            port = server.getsockname()[1]
            assert owns_listener([own_identity()], port, "127.0.0.1")
            assert owns_listener([own_identity()], port, "::1")

    def test_a_port_shared_with_a_stranger_is_not_owned(self):
        script = LISTEN.replace(
            "server.bind", "server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); server.bind"
        )
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            server.bind(("127.0.0.1", 0))
            server.listen()
            port = server.getsockname()[1]
            assert owns_listener([own_identity()], port, "127.0.0.1")
            stranger = subprocess.Popen([*PYTHON, script, "127.0.0.1", str(port)], stdout=subprocess.PIPE)
            assert stranger.stdout is not None
            try:
                stranger.stdout.readline()
                assert not owns_listener([own_identity()], port, "127.0.0.1")
            finally:
                stranger.kill()
                stranger.wait()
                stranger.stdout.close()
