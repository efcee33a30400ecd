"""Commands run where the disk says no: real limits of real processes, none of them left behind."""

import os
import resource
import shutil
import subprocess
from pathlib import Path

import pytest


def run_without_override(argv: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs it bound by the permissions of files, even where the tests run as root."""
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("root, and no setpriv to drop its override of permissions")
        argv = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", *argv]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30)


def run_with_small_files(argv: list[str], most_bytes: int) -> subprocess.CompletedProcess[str]:
    """Runs it with a limit on the size of any file that it writes."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    return subprocess.run(argv, capture_output=True, text=True, timeout=30, preexec_fn=limit)


def run_on_small_disk(argv: list[str], mount: Path, size: str, after: str = "true") -> subprocess.CompletedProcess[str]:
    """Runs it with a tmpfs of `size` at `mount`, seen by it alone; then `after`, a shell line, on the same disk."""
    script = f'mount -t tmpfs -o size={size} tmpfs "$0" && {{ "$@"; code=$?; {after}; exit $code; }}'
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*namespace, "mount", "-t", "tmpfs", "tmpfs", mount], capture_output=True).returncode:
        pytest.skip("no mount namespace to put a small disk in")
    return subprocess.run([*namespace, "sh", "-c", script, mount, *argv], capture_output=True, text=True, timeout=30)
