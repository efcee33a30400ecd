import os
import time

if not os.fork():
    time.sleep(seconds)
    os._exit(0)
