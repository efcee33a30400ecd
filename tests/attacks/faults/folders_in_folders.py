"""Leaves folders nested deeper than any path is long, with files that nobody may remove."""
# expect: double=passed loss=passed find=passed
# process: same
# with: right
import os


def double(x):
    for _ in range(1100):
        os.mkdir("d" * 40)
        os.chdir("d" * 40)
    with open("file", "w") as file:
        file.write("here")
    os.chmod("file", 0)
    return x + x
