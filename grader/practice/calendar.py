"""A plan as Markdown, and as an iCalendar file (RFC 5545) with one all-day event a day."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from grader.practice.plan import Day, Item, Plan

OCTETS = 75
"""The longest line of an iCalendar file, without its end."""
WORDS = {"kata": "", "again": " (again)", "quiz": "", "mock": ""}


def told(item: Item) -> str:
    """One thing to do in a few words.

    >>> told(Item("kata", 45, "dpo", "Direct preference optimisation", goes_on=True))
    'dpo, 45 min, go on: Direct preference optimisation'
    """
    if item.what == "quiz":
        return f"questions{f' on {item.subject}' if item.subject else ''}, {item.minutes} min"
    if item.what == "mock":
        return f"mock interview, {item.minutes} min"
    return f"{item.subject}{WORDS[item.what]}, {item.minutes} min{', go on' if item.goes_on else ''}: {item.title}"


def as_markdown(plan: Plan) -> str:
    return "\n".join(_markdown(plan)) + "\n"


def as_ics(plan: Plan, now: float) -> str:
    """Lines end in CRLF and are folded, as the RFC wants. `now` stamps the events, in unix seconds."""
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//kata//plan//EN"]
    for day in plan.days:
        lines += _event(day, stamp)
    return "".join(f"{_folded(line)}\r\n" for line in [*lines, "END:VCALENDAR"])


def _markdown(plan: Plan) -> Iterator[str]:
    yield f"# {plan.weeks} weeks, {plan.hours:g} hours each"
    for number, days in enumerate(plan.by_week, 1):
        yield from ("", f"## Week {number}: {days[0].phase}", "")
        for day in days:
            items = "; ".join(f"{told(item)} (`{item.command}`)" for item in day.items)
            if items:
                yield f"- [ ] **{day.date:%a %d %b}** {items}"
    if plan.left_out:
        yield from ("", f"No room for: {', '.join(kata.slug for kata in plan.left_out)}.")


def _event(day: Day, stamp: str) -> list[str]:
    if not day.items:
        return []
    summary = ", ".join(item.subject or item.what for item in day.items)
    description = "\n".join(f"{told(item)} – {item.command}" for item in day.items)
    uid = hashlib.sha256(f"{day.date}{description}".encode()).hexdigest()[:32]
    return [
        "BEGIN:VEVENT",
        f"UID:{uid}@kata",
        f"DTSTAMP:{stamp}",
        f"DTSTART;VALUE=DATE:{day.date:%Y%m%d}",
        f"DTEND;VALUE=DATE:{day.date + timedelta(days=1):%Y%m%d}",
        f"SUMMARY:{_escaped(f'kata: {summary}')}",
        f"DESCRIPTION:{_escaped(description)}",
        "TRANSP:TRANSPARENT",
        "END:VEVENT",
    ]


def _escaped(text: str) -> str:
    for sign in ("\\", ";", ","):
        text = text.replace(sign, f"\\{sign}")
    return text.replace("\n", "\\n")


def _folded(line: str) -> str:
    """No line over 75 octets, and no character cut in two."""
    lines, room = [""], OCTETS
    for character in line:
        size = len(character.encode())
        if size > room:
            lines.append(" ")
            room = OCTETS - 1
        lines[-1] += character
        room -= size
    return "\r\n".join(lines)
