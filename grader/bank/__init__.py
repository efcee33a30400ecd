"""Banks of katas: folders on disk → frozen types. Reads and checks kata.toml; runs nothing that a kata holds."""

from grader.bank.catalogue import Catalogue
from grader.bank.kata import Forbidden, Kata, Limits, Part, Reference, is_of, is_slug
from grader.bank.manifest import load_kata
from grader.bank.markdown import hint_text, sections
from grader.bank.places import builtin_bank, templates_folder

__all__ = [
    "Catalogue",
    "Forbidden",
    "Kata",
    "Limits",
    "Part",
    "Reference",
    "builtin_bank",
    "hint_text",
    "is_of",
    "is_slug",
    "load_kata",
    "sections",
    "templates_folder",
]
