import os

os.close(os.pidfd_open(victim))
