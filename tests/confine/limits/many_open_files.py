import os

for _ in range(100):
    os.open(os.devnull, os.O_RDONLY)
