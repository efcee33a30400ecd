"""Opens files in every way there is: the bank's, the history, other attempts', the grader's, the kernel's."""
# control: files
import linecache
import mmap
import pathlib
import sqlite3
import subprocess
import tokenize

import numpy as np


def steal():
    for path in (*PATHS, *DECOYS):
        with trying(f"open {path}"), open(path, "rb") as file:
            file.read(1)
        with trying(f"map {path}"), open(path, "rb") as file:
            mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        with trying(f"descriptor {path}"):
            os.read(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), 1)
        with trying(f"path {path}"):
            pathlib.Path(path).read_bytes()
        with trying(f"numpy {path}"):
            np.fromfile(path, np.uint8)
        with trying(f"tokenize {path}"):
            tokenize.open(path).read()
        with trying(f"sqlite {path}"):
            sqlite3.connect(f"file:{path}?mode=ro", uri=True).execute("select * from sqlite_master").fetchall()
        with trying(f"program {path}"):
            subprocess.run(["/bin/cat", path], check=True, stdout=subprocess.DEVNULL)
        if linecache.getlines(path):
            got(f"lines of {path}")
    for folder in FOLDERS:
        with trying(f"list {folder}"):
            os.listdir(folder)
    for path in DECOYS:
        with trying(f"write {path}"), open(path, "ab"):
            pass
        with trying(f"truncate {path}"):
            os.truncate(path, 1)
        with trying(f"make beside {path}"), open(f"{path}.planted", "xb"):
            pass
        with trying(f"move {path}"):
            os.rename(path, f"{path}.moved")
        with trying(f"remove {path}"):
            os.unlink(f"{path}.moved")
