"""Dates in many notations, and in ISO 8601. Every notation is unambiguous."""

from datetime import date

from elman.data.builtin import Columns, builtin
from elman.data.examples import Example, columns, distinct
from elman.data.rng import Rng
from elman.options import CountInt, PositiveInt

FIRST, LAST = date(1900, 1, 1).toordinal(), date(2100, 12, 31).toordinal()
# those of strftime depend on the locale
MONTHS = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
]  # fmt: skip
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
NOTATIONS = (
    "{d} {month} {y}",
    "{d} {mon} {y}",
    "{d}. {month} {y}",
    "{d}{th} {month} {y}",
    "{d}{th} of {month} {y}",
    "the {d}{th} of {month}, {y}",
    "{month} {d}, {y}",
    "{month} {d} {y}",
    "{month} {d}{th}, {y}",
    "{mon} {d}, {y}",
    "{mon} {d}{th} {y}",
    "{weekday} {d} {month} {y}",
    "{weekday}, {d}{th} {month} {y}",
    "{weekday}, {month} {d}, {y}",
    "{weekday} the {d}{th} of {month} {y}",
    "{day} {d} {mon} {y}",
    "{day}, {mon} {d}{th}, {y}",
    "{d}-{mon}-{y}",
    "{dd}-{mon}-{y}",
    "{y} {month} {d}",
    "{y}-{mon}-{dd}",
    "{d}.{m}.{y}",
    "{dd}.{mm}.{y}",
    "{d}. {m}. {y}",
    "{y}/{mm}/{dd}",
    "{y}/{m}/{d}",
    "{y}.{mm}.{dd}",
    "{y}-{mm}-{dd}",
    "{y}{mm}{dd}",
)
CASES = (str, str.lower, str.upper)


@builtin("dates", "a date in one of many notations -> the same as 1979-05-03", "translate")
def rows(seed: CountInt = 0, count: PositiveInt = 20_000) -> Columns:
    """Dates from 1900 to 2100; one may occur in several notations."""
    rng = Rng(seed)

    def date_pair() -> list[Example]:
        day, notation, case = date.fromordinal(rng.between(FIRST, LAST)), rng.choice(NOTATIONS), rng.choice(CASES)
        return [(case(notation.format_map(_words(day))), day.isoformat())]

    return columns(distinct(count, date_pair), "source", "target")


def _words(day: date) -> dict[str, str]:
    d, m, month, weekday = day.day, day.month, MONTHS[day.month - 1], WEEKDAYS[day.weekday()]
    th = "th" if d in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(d % 10, "th")
    return {
        "d": f"{d}", "dd": f"{d:02}", "th": th, "m": f"{m}", "mm": f"{m:02}", "month": month, "mon": month[:3],
        "y": f"{day.year}", "weekday": weekday, "day": weekday[:3],
    }  # fmt: skip
