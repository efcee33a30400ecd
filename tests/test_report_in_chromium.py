"""Reports as a browser shows them: a real Chromium, where there is one."""

import html
import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from chromium import CHROMIUM, shown
from reported import KINDS, interviewed, page, practise

LIGHT, DARK = 1, 0
AXE = Path(find_spec("axe_core_python").origin).with_name("axe.min.js")
"""The audit is a script alone; the package's drivers are not used."""
AUDIT = """
axe.run().then(found => {
    const told = document.createElement("pre")
    told.id = "found"
    told.textContent = JSON.stringify({passes: found.passes.map(rule => rule.id), violations: found.violations})
    document.body.append(told)
})
"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


@pytest.fixture
def pages(person):
    """One of each kind, of somebody whose attempts and answers are hostile."""
    practise(person)
    interviewed(person)
    return {kind: page(person, *arguments) for kind, arguments in KINDS.items()}


def test_it_is_shown_without_a_word_on_the_console(pages, tmp_path):
    for text in pages.values():
        shot = f"--screenshot={tmp_path}/page.png"
        done = shown(text, tmp_path, "--dump-dom", "--enable-logging=stderr", "--log-level=0", shot)
        assert "owned" not in re.search(r"<title>(.*?)</title>", done.stdout)[1]
        assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_an_accessibility_audit_finds_nothing(pages, tmp_path, colours):
    """The audit runs in a copy without the page's policy, which lets no script run."""
    for text in pages.values():
        copy = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
        assert copy != text
        script = f"<script>{AXE.read_text(encoding='utf-8')}</script><script>{AUDIT}</script>"
        flags = "--dump-dom", f"--blink-settings=preferredColorScheme={colours}", "--virtual-time-budget=20000"
        done = shown(copy.replace("</body>", f"{script}</body>"), tmp_path, *flags)
        found = json.loads(html.unescape(re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)[1]))
        assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found["violations"]] == []
        assert "color-contrast" in found["passes"]
