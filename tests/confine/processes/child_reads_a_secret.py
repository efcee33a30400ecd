import subprocess
import sys

subprocess.run([sys.executable, "-I", "-c", f"open({secret!r})"], check=True, stderr=subprocess.DEVNULL)
