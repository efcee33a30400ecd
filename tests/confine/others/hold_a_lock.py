import fcntl
import time

fcntl.flock(open("lock", "w"), fcntl.LOCK_EX)
time.sleep(60)
