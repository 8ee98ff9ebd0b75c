"""Becomes the program: a process of its own that gives up what the agent may do, and executes.

Run as a script with ``python -I -S launch.py FD USER EXECUTABLE ARGV…``, in the program's environment. It imports the
standard library only, so nothing of Redoubt is in the process that turns into the program. What fails is written to
the descriptor FD, which closes by itself when the program has started.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import pwd
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


def main(arguments: list[str]) -> None:
    """Execute what *arguments* say; returns only if that failed."""
    report = int(arguments[0])
    fcntl.fcntl(report, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    try:
        environment = _environment()  # of a process that changed its user, it is no longer readable
        _become(arguments[1], parent=os.getppid())
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)  # Python ignores them, and ignored signals are inherited
        os.execve(arguments[2], arguments[3:], environment)  # noqa: S606 - no shell
    except (OSError, KeyError, ValueError) as error:
        os.write(report, str(getattr(error, "strerror", None) or error).encode()[:512])


def _environment() -> dict[bytes, bytes]:
    """Return the environment that this process was given: Python may have added a locale to it since."""
    with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 - nothing more is imported here
        pairs = [it.partition(b"=") for it in file.read().split(b"\0") if it]
    return {name: value for name, _, value in pairs}


def _become(user: str, *, parent: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if user:
        entry = pwd.getpwnam(user)
        os.initgroups(user, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    libc = ctypes.CDLL(None, use_errno=True)
    # After setuid, which clears it. A parent that has gone meanwhile would never send it.
    for option, value in ((_PR_SET_PDEATHSIG, signal.SIGKILL), (_PR_SET_NO_NEW_PRIVS, 1)):
        if libc.prctl(option, int(value), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl failed")
    if os.getppid() != parent:
        raise OSError("the agent has ended")


if __name__ == "__main__":
    main(sys.argv[1:])
    sys.exit(126)
