"""Runs `qmanet` and `python` in copies of one process that has imported everything: importing costs more than most do.

The page's shell calls ``qmanet`` or ``python`` as ever. What it finds under that name hands its arguments, folder,
environment and its three streams to a server, which forks; the copy is then a process of its own like any other. A copy
that starts an interpreter gets another copy.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import socket
import struct
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from process_copies import execute

SOCKET = "QMANET_TEST_SOCKET"
IMPORTED = (
    "qmanet_benco.cli.main",
    "qmanet_benco.benco.plugin",
    "qmanet_benco.benco.launch.launcher",
    "qmanet_benco.evaluation.suite.run",
    "qmanet_benco.evaluation.report.report",
    "qmanet_benco.apps.explain.explain",
    "qmanet_benco.apps.outputs",
    "torch.utils.tensorboard",
)
"""What the commands import sooner or later."""
CLIENT = """#!{python} -IS
import json, os, socket, struct, sys
name = os.path.basename(sys.argv[0])
if name == "python" and sys.argv[1:2] not in (["-c"], ["-m"]):
    os.execv("{python}", ["{python}", *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as server:
    server.connect(os.environ["{socket}"])
    asked = json.dumps([[name, *sys.argv[1:]], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [struct.pack("I", len(asked))], [0, 1, 2])
    server.sendall(asked)
    sys.exit(int(server.makefile().read() or 1))
"""


@contextlib.contextmanager
def warm_commands(folder: Path) -> Iterator[dict[str, str]]:
    """Start the server; its copies end with it.

    Args:
        folder: for the two commands and the socket.

    Yields:
        Environment variables under which ``qmanet`` and ``python`` are the warm ones.
    """
    place = folder / "socket"
    for client in (folder / "qmanet", folder / "python"):
        client.write_text(CLIENT.format(python=sys.executable, socket=SOCKET), encoding="utf-8")
        client.chmod(0o755)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place))
    listener.listen()
    code = "import sys, warm_commands; warm_commands.serve(int(sys.argv[1]), sys.argv[2])"
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    server = subprocess.Popen(
        [sys.executable, "-c", code, str(listener.fileno()), str(folder / "python")],
        env={**os.environ, "PYTHONPATH": paths},
        pass_fds=[listener.fileno()],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    listener.close()
    try:
        yield {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", SOCKET: str(place)}
    finally:
        server.terminate()
        server.wait()


def serve(handle: int, interpreter: str) -> None:
    """Answer commands, each by a process that waits for its copy, until the process is ended.

    Args:
        handle: of the socket that listens.
        interpreter: what copies start as Python.
    """
    for name in IMPORTED:
        importlib.import_module(name)
    sys.executable = interpreter
    with socket.socket(fileno=handle) as listener:
        while True:
            connection, _ = listener.accept()
            with connection:
                if os.fork() == 0:
                    connection.sendall(str(_run_copy(connection)).encode())
                    os._exit(0)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:  # those that have answered
                    pass


def _run_copy(connection: socket.socket) -> int:
    length, streams, _, _ = socket.recv_fds(connection, 4, 3)
    arguments, folder, environment = json.loads(connection.makefile("rb").read(struct.unpack("I", length)[0]))
    copy = os.fork()
    if copy == 0:
        connection.close()  # its end tells the client that the command has ended
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        os._exit(_ended(arguments))
    for stream in streams:
        os.close(stream)
    return os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])


def _ended(command: list[str]) -> int:
    from qmanet_benco.cli.main import main

    sys.argv = command
    code: object = 0
    try:
        if command[0] == "python":
            execute(command[1:])
        else:
            main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)
