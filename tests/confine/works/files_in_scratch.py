import os
import pathlib
import shutil
import tempfile

import torch

tempfile.tempdir = None
with tempfile.NamedTemporaryFile() as file:
    assert pathlib.Path(file.name).parent == pathlib.Path.cwd()
torch.save(torch.arange(3), "saved.pt")
assert torch.load("saved.pt").tolist() == [0, 1, 2]
os.mkdir("deep")
os.replace("saved.pt", "deep/moved.pt")
shutil.copy("deep/moved.pt", "copied.pt")
pathlib.Path("copied.pt").touch()
os.truncate("copied.pt", 1)
assert os.listdir("deep") == ["moved.pt"]
shutil.rmtree("deep")
