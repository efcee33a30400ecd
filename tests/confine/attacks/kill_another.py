import os

os.kill(victim, 0)
