"""Asking a process to stop, on POSIX systems and on Windows, which has other signals."""

import signal
import subprocess

# What asks a program to stop: Ctrl-C, a request of the system and, on Windows, Ctrl-Break.
REQUESTS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]

# Arguments of `subprocess.Popen` for a process that Ctrl-C in the terminal does not reach.
APART = {"process_group": 0, "creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}


def ask_to_stop(process: subprocess.Popen, number: int = signal.SIGTERM) -> None:
    """Send a signal to a process that was started `APART`: on Windows Ctrl-Break, the only one that it can handle."""
    process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", number))
