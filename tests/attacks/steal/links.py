"""Makes links in its scratch folder to what it may not read, for itself and for whoever reads there afterwards."""
# control: links


def steal():
    for number, path in enumerate(PATHS):
        with trying(f"symbolic link to {path}"):
            os.symlink(path, f"link{number}")
        with trying(f"hard link to {path}"):
            os.link(path, f"hard{number}")
        with trying(f"renamed {path}"):
            os.rename(path, f"mine{number}")
    with trying("a pipe"):
        os.mkfifo("pipe")
    with trying("a device"):
        os.mknod("device", 0o20666, os.makedev(1, 1))
