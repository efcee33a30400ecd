"""Looks where processes leave things for each other: shared memory, queues, keyrings, temporary folders, semaphores."""
# control: shared
import ctypes
import multiprocessing.shared_memory
import tempfile

libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
KEYCTL, ADD_KEY, SESSION, GET_ID, JOIN = 250, 248, -3, 0, 1


def done(result):
    if result in (-1, None, 2**64 - 1):
        raise OSError(ctypes.get_errno(), "refused")


def steal():
    with trying("System V memory"):
        done(libc.shmget(SEGMENT, 0, 0))
    with trying("System V memory by number"):
        done(libc.shmat(SEGMENT_ID, None, 0o10000))
    with trying("System V queue"):
        done(libc.msgget(SEGMENT, 0o1600))
    with trying("System V semaphores"):
        done(libc.semget(SEGMENT, 1, 0o1600))
    with trying("POSIX queue"):
        done(libc.mq_open(b"/kata-attack", os.O_RDWR | os.O_CREAT, 0o600, None))
    with trying("POSIX memory"):
        multiprocessing.shared_memory.SharedMemory(name=SHARED)
    with trying("POSIX memory of its own"):
        multiprocessing.shared_memory.SharedMemory(create=True, size=4096).unlink()
    with trying("keyring"):
        done(libc.syscall(KEYCTL, GET_ID, SESSION, 0, 0, 0))
    with trying("a key"):
        done(libc.syscall(ADD_KEY, b"user", b"kata-attack", b"x", ctypes.c_size_t(1), SESSION))
    with trying("a memory file"):
        os.close(os.memfd_create("kata"))
    for folder in ("/tmp", "/dev/shm", "/var/tmp", "/run", os.path.dirname(os.getcwd()), tempfile.gettempdir() + "/.."):
        with trying(f"list {folder}"):
            os.listdir(folder)
        with trying(f"make a file in {folder}"):
            descriptor = os.open(f"{folder}/planted-by-an-attack", os.O_CREAT | os.O_WRONLY, 0o600)
            os.close(descriptor)
            os.unlink(f"{folder}/planted-by-an-attack")
