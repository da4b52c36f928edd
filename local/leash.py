"""Ties itself to the life of the launcher, then becomes the program it was asked to be.

Run by path in an isolated interpreter (`python -I -S leash.py PARENT SIGNAL USER GROUP COMMAND…`), so it costs a few
milliseconds. On Linux the kernel sends SIGNAL to this process the moment the launcher dies, however it dies; where
there is no such call, the next start ends what a killed launcher left behind. USER and GROUP are ids to become, or -.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Become the command. Never returns."""
    parent, number, user, group, *command = arguments
    if user != "-":
        os.setgroups([])
        os.setgid(int(group))
        os.setuid(int(user))
    # After the change of user, which would undo it.
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number)) != 0:
        sys.exit(f"cannot tie {command[0]} to the launcher: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != int(parent):
        sys.exit("the launcher is gone already")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and what is ignored is inherited
    os.execvp(command[0], command)  # noqa: S606 - becoming this program is the purpose


if __name__ == "__main__":
    main(sys.argv[1:])
