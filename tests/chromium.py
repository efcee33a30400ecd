"""A page in a real Chromium without a window."""

import shutil
import subprocess
from pathlib import Path

CHROMIUM = shutil.which("chromium")
ALWAYS = ("--headless", "--no-sandbox", "--disable-gpu")


def shown(text: str, folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """What it says of the page `text`; its profile and the page are written to `folder`."""
    path = folder / "page.html"
    path.write_text(text, encoding="utf-8")
    command = [CHROMIUM, *ALWAYS, f"--user-data-dir={folder}/profile", *flags, path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
