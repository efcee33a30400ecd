import os

os.setpriority(os.PRIO_USER, 0, os.getpriority(os.PRIO_PROCESS, 0))
