"""The scaffold: what `kata new` writes. It parses and starts, and fails `kata lint` until its TODOs are done."""

from pathlib import Path

import jinja2

from grader.bank import is_slug, templates_folder
from grader.bank.kata import SLUG_RULE
from grader.bank.manifest import FORMAT
from grader.errors import UsageError


def create(slug: str, bank: Path) -> list[Path]:
    """Write katas/<slug>/ and solutions/<slug>/ into `bank`, which need not be there yet; returns the files.

    Raises UsageError for a name that no kata may have, and where either folder is there: nothing is overwritten.
    """
    if not is_slug(slug):
        raise UsageError(f"{slug!r} cannot name a kata; use {SLUG_RULE}, as in `kata new two-sums`")
    texts = {bank / top / slug / name: text for top, name, text in _render(slug)}
    try:
        _refuse_if_there(bank / "katas" / slug, bank / "solutions" / slug)
        _write(texts)
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be written: {error.strerror}; choose another --bank") from None
    return list(texts)


def _refuse_if_there(*folders: Path) -> None:
    for folder in folders:
        if folder.exists() or folder.is_symlink():
            raise UsageError(f"{folder} is there already; choose another name, or remove it first")


def _write(texts: dict[Path, str]) -> None:
    for file, text in texts.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)


def _render(slug: str) -> list[tuple[str, str, str]]:
    """(`katas` or `solutions`, path below the kata's folder, text) of each template, in order of name."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_folder() / "kata"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    names = {"slug": slug, "title": slug.replace("-", " ").capitalize(), "format": FORMAT}
    rendered = []
    for template in environment.list_templates(extensions=["j2"]):
        top, _, name = template.removesuffix(".j2").partition("/")
        rendered.append((top, name, environment.get_template(template).render(names)))
    return rendered
