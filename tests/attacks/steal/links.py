"""Makes links in its scratch folder to what it may not read, for itself and for whoever reads there afterwards."""
# control: links


def steal():
    for number, path in enumerate((*PATHS, *DECOYS)):
        with trying(f"symbolic link to {path}"):
            os.symlink(path, f"link{number}")
    for path in DECOYS:
        with trying(f"hard link to {path}"):
            os.link(path, "hard")
        with trying(f"moved {path}"):
            os.rename(path, "mine")
    with trying("a pipe"):
        os.mkfifo("pipe")
    with trying("a device"):
        os.mknod("device", 0o20666, os.makedev(1, 3))
