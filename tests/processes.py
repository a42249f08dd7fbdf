"""Scripts that run with less room on the disk, or with fewer rights, than the tests have.

`preexec_fn` of `subprocess` would do the same in a fork of the process of the tests. Forking is unsafe, and a warning,
once a library such as JAX has started threads in it. So a new Python prepares itself and then becomes the script.
"""


def after(statement):
    """What comes between the interpreter and the script on the command line, so that the statement runs first."""
    become_the_script = "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    return ["-c", f"import ctypes, os, resource, sys; {statement}; {become_the_script}"]


def with_room_for(size):
    """Files may not grow above `size` bytes, which a script meets like a full disk: some is written, then no more."""
    return after(f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, resource.RLIM_INFINITY))")


def without_the_superusers_right():
    """The right to write where the permissions forbid it is dropped from what the superuser's programs may have."""
    return after("os.geteuid() or ctypes.CDLL(None).prctl(24, 1)")  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE
