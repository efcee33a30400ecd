"""Looks for other processes, to signal, trace, read, slow down or outlive them."""
# control: processes
import ctypes
import resource

libc = ctypes.CDLL(None, use_errno=True)
ATTACH, DETACH, READ = 16, 17, 310


def done(result):
    if result == -1:
        raise OSError(ctypes.get_errno(), "refused")


def steal():
    if os.getppid():
        got("a parent")
    for pid in {os.getppid(), *range(1, 100), *PIDS} - {os.getpid(), 0}:
        with trying(f"signal {pid}"):
            os.kill(pid, 0)
        with trying(f"handle of {pid}"):
            os.close(os.pidfd_open(pid))
    for pid in PIDS:
        with trying(f"trace {pid}"):
            done(libc.ptrace(ATTACH, pid, 0, 0))
        libc.ptrace(DETACH, pid, 0, 0)
        with trying(f"limits of {pid}"):
            resource.prlimit(pid, resource.RLIMIT_CPU)
        with trying(f"priority of {pid}"):
            os.setpriority(os.PRIO_PROCESS, pid, 19)
        with trying(f"processors of {pid}"):
            os.sched_setaffinity(pid, {0})
        buffer = ctypes.create_string_buffer(8)
        vector = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 8)
        with trying(f"memory of {pid} by call"):
            done(libc.syscall(READ, pid, vector, 1, vector, 1, 0))
        for name in ("mem", "environ", "maps", "fd", "root/etc/passwd", "cwd", "status", "cmdline"):
            with trying(f"{name} of {pid}"):
                os.listdir(f"/proc/{pid}/fd") if name in ("fd", "cwd") else open(f"/proc/{pid}/{name}", "rb").read(0)
    with trying("everybody"):
        os.kill(-1, 0)
    with trying("the group"):
        os.killpg(0, 0) if os.getpgid(0) != os.getpid() else done(-1)
    with trying("a list of processes"):
        if not [name for name in os.listdir("/proc") if name.isdigit()]:
            raise OSError
    with trying("a child"):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
    with trying("a session"):
        os.setsid()
    with trying("another program"):
        os.posix_spawn("/bin/true", ["true"], {})
