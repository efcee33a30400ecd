"""A kata's files as text."""

from pathlib import Path

from grader.errors import BadKata


def read_text(file: Path) -> str:
    """The whole file. Raises BadKata where it is not there, cannot be read or is not UTF-8."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadKata(f"{file} is not there; write it (`kata new SLUG` makes a whole kata to start from)") from None
    except OSError as error:
        raise BadKata(f"{file} cannot be read: {error.strerror}; make it a readable file") from None
    except UnicodeDecodeError as error:
        raise BadKata(f"{file}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
