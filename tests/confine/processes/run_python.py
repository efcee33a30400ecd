import os
import subprocess
import sys

pid = os.fork()
if not pid:
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
child = subprocess.Popen([sys.executable, "-I", "-c", "input()"], stdin=subprocess.PIPE)
child.terminate()
assert child.wait() == -15
subprocess.run([sys.executable, "-I", "-c", "import json"], check=True)
