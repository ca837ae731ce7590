"""When windows begin: the ticks of a schedule in a time zone, laid exactly as Dagster lays them.

Guarantees that ticks are strictly ascending instants, so that the windows between them tile time. What happens
where the clocks change depends on the schedule (dagster/_utils/schedules.py, Dagster 1.13):

- `hourly`, a tick at given minutes of every hour: an hour is 60 minutes of real time whatever the clocks do. Where
  they shift by half an hour (Lord Howe) the ticks stay as they were at the start of the partitioning.
- `plain`, one tick on a day (daily, weekly, monthly up to the 28th, and crons of these shapes): a time of 01:00 to
  03:59 that the clocks skip is moved to the end of the gap, and one that they repeat is its second instance; at
  other hours (midnight in Santiago or Havana) the time is counted from before the change, and the first is taken.
- `hours`, any other schedule that says nothing of hours: skipped times have no tick, repeated ones have two.
- `other`, all else: like `plain`, but a repeated time is the second at any hour.

A time that a zone's rules place in a gap is printed as Dagster prints it, although no clock ever showed it.
"""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import accumulate
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

Rule = Literal["hourly", "plain", "hours", "other"]
_DAY, _HOUR, _MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOVED_HOURS = range(1, 4)  # Dagster looks for changed clocks only here
_MARGIN = 2 * _DAY  # no clock has moved by more than one day: Apia's did, in 2011


class Tick(NamedTuple):
    """The begin of a window."""

    at: datetime  # in UTC
    local: datetime  # as the zone's clock shows it, naive
    offset: str  # +0100 where the clock shows this time for the second time and the schedule ticks at both; else ''


class Schedule(msgspec.Struct, frozen=True, cache_hash=True):
    """When ticks come: at these minutes of a day (of an hour, where it is hourly), on these days, in this zone."""

    rule: Rule
    zone: str
    minutes: tuple[int, ...]  # ascending
    weekdays: frozenset[int] = frozenset(range(7))  # from Sunday
    month_day: int | None = None
    days: str | None = None  # cron's day of month, month and day of week, where the two above cannot say it
    shift: int = 0  # hourly: by how many minutes, of 60, the zone's clock is ahead of UTC


@lru_cache(maxsize=1_024)
def zone_of(name: str) -> ZoneInfo:
    """The time zone of an IANA name. Raises ZoneInfoNotFoundError, ValueError or OSError for none."""
    return ZoneInfo(name)


def instant(local: datetime, zone: str) -> datetime:
    """The moment of a local time: the first of two, and what is skipped as if the clocks had not changed yet."""
    return local.replace(tzinfo=zone_of(zone)).astimezone(UTC)


def floor(schedule: Schedule, moment: datetime) -> Tick:
    """The last tick at or before a moment."""
    if schedule.rule == "hourly":
        return _hourly_floor(schedule, moment)
    local = moment.astimezone(zone_of(schedule.zone))
    day = local.date()
    if _steady(schedule.zone, day) is not None and (tick := _steady_tick(schedule, _naive_floor(schedule, local))):
        return tick
    near = _near(schedule, day)
    return near[bisect_right(near, moment, key=_at) - 1]


def following(schedule: Schedule, tick: Tick) -> Tick:
    """The tick after this one."""
    if schedule.rule == "hourly":
        return _hourly_following(schedule, tick.at)
    day = tick.local.date()
    if _steady(schedule.zone, day) is not None and (
        found := _steady_tick(schedule, _naive_following(schedule, tick.local))
    ):
        return found
    near = _near(schedule, day)
    return near[bisect_right(near, tick.at, key=_at)]


def _at(tick: Tick) -> datetime:
    return tick.at


def _hourly_floor(schedule: Schedule, moment: datetime) -> Tick:
    hour, minute = divmod((moment - _EPOCH) // _MINUTE + schedule.shift, 60)
    place = bisect_right(schedule.minutes, minute) - 1
    if place < 0:
        hour -= 1
    return _shown(_EPOCH + (hour * 60 + schedule.minutes[place] - schedule.shift) * _MINUTE, schedule.zone)


def _hourly_following(schedule: Schedule, moment: datetime) -> Tick:
    hour, minute = divmod((moment - _EPOCH) // _MINUTE + schedule.shift, 60)
    place = bisect_right(schedule.minutes, minute) % len(schedule.minutes)
    if place == 0:
        hour += 1
    return _shown(_EPOCH + (hour * 60 + schedule.minutes[place] - schedule.shift) * _MINUTE, schedule.zone)


def _shown(at: datetime, zone: str) -> Tick:
    local = at.astimezone(zone_of(zone))
    offset = local.strftime("%z") if local.fold and _is_repeated(local) else ""
    return Tick(at, local.replace(tzinfo=None, fold=0), offset)


# The ticks of days far from any change of the clocks need but one subtraction.


@lru_cache(maxsize=65_536)
def _steady(zone: str, day: date) -> timedelta | None:
    """The offset from UTC all around a day; None where the clocks change within the margin."""
    midnight = datetime.combine(day, time.min, tzinfo=UTC)
    around = (midnight - _MARGIN, midnight + _DAY + _MARGIN)
    before, after = (moment.astimezone(zone_of(zone)).utcoffset() for moment in around)
    return before if before == after else None


def _steady_tick(schedule: Schedule, naive: datetime) -> Tick | None:
    offset = _steady(schedule.zone, naive.date())
    return None if offset is None else Tick((naive - offset).replace(tzinfo=UTC), naive, "")


# Where they do change, all ticks around are resolved one by one and put in order.


@lru_cache(maxsize=64)
def _near(schedule: Schedule, day: date) -> tuple[Tick, ...]:
    """All ticks from before the margin around a day to the first after it."""
    midnight = datetime.combine(day, time.min)
    first_day = _naive_floor(schedule, midnight - _MARGIN).date()
    naive = _naive_floor(schedule, datetime.combine(first_day, time.min) - _MINUTE)
    ticks = _resolved(schedule, naive)
    while naive <= midnight + _DAY + _MARGIN:
        naive = _naive_following(schedule, naive)
        ticks += _resolved(schedule, naive)
    return _ascending(schedule, ticks)


def _ascending(schedule: Schedule, ticks: list[Tick]) -> tuple[Tick, ...]:
    """Ticks in order, each instant once. Of two local times of one instant Dagster lists the first; but of days it
    lists both, and the window of the last has length (30 and 31 December 2011 in Apia)."""
    if schedule.rule == "other":
        return tuple(dict.fromkeys(accumulate(ticks, _later)))
    last = {tick.at: tick for tick in ticks}
    return tuple(last[at] for at in sorted(last))


def _later(first: Tick, second: Tick) -> Tick:
    return second if second.at > first.at else first


def _resolved(schedule: Schedule, naive: datetime) -> list[Tick]:
    local = naive.replace(tzinfo=zone_of(schedule.zone))
    if schedule.rule == "plain":
        moved = _after_gap(local)
        return [_tick(moved.replace(fold=1) if moved.hour in _MOVED_HOURS and _changes(moved) else moved)]
    if not _changes(local):
        return [_tick(local)]
    if schedule.rule == "hours":
        return [_tick(local), _shown(_tick(local.replace(fold=1)).at, schedule.zone)] if _is_repeated(local) else []
    return [_tick(local.replace(fold=1) if _is_repeated(local) else _after_gap(local))]


def _tick(local: datetime) -> Tick:
    return Tick(local.astimezone(UTC), local.replace(tzinfo=None, fold=0), "")


def _offset(local: datetime, fold: Literal[0, 1]) -> timedelta:
    return local.replace(fold=fold).utcoffset() or timedelta()


def _changes(local: datetime) -> bool:
    """Whether the clocks show this time twice, or never."""
    return _offset(local, 0) != _offset(local, 1)


def _is_repeated(local: datetime) -> bool:
    return _offset(local, 0) > _offset(local, 1)


def _after_gap(local: datetime) -> datetime:
    """The end of the gap that a skipped time lies in, as Dagster finds it: the hour's begin and the summer time that
    holds an hour later. Where summer is the zone's standard (Casablanca, Dublin) that is the gap's begin."""
    if local.hour not in _MOVED_HOURS or _offset(local, 0) >= _offset(local, 1):
        return local
    return local.replace(minute=0) + ((local + _HOUR).dst() or timedelta())


# Ticks on the local clock, as if it never changed.


def _naive_floor(schedule: Schedule, local: datetime) -> datetime:
    day, minute = local.date(), local.hour * 60 + local.minute
    if (found := _day_floor(schedule, day)) == day and minute >= schedule.minutes[0]:
        return _moment(day, schedule.minutes[bisect_right(schedule.minutes, minute) - 1])
    return _moment(_day_floor(schedule, day - _DAY) if found == day else found, schedule.minutes[-1])


def _naive_following(schedule: Schedule, local: datetime) -> datetime:
    day, minute = local.date(), local.hour * 60 + local.minute
    if minute < schedule.minutes[-1] and _day_floor(schedule, day) == day:
        return _moment(day, schedule.minutes[bisect_right(schedule.minutes, minute)])
    return _moment(_day_following(schedule, day), schedule.minutes[0])


def _moment(day: date, minute: int) -> datetime:
    return datetime(day.year, day.month, day.day, minute // 60, minute % 60)  # noqa: DTZ001 - a local time


def _day_floor(schedule: Schedule, day: date) -> date:
    """The last day with ticks that is this one or before it."""
    if schedule.days is not None:
        return _cron_day(schedule.days, day, back=True)
    if schedule.month_day is not None:
        return _month_day(schedule.month_day, day, back=True)
    while day.isoweekday() % 7 not in schedule.weekdays:
        day -= _DAY
    return day


def _day_following(schedule: Schedule, day: date) -> date:
    """The first day with ticks after this one."""
    if schedule.days is not None:
        return _cron_day(schedule.days, day, back=False)
    if schedule.month_day is not None:
        return _month_day(schedule.month_day, day + _DAY, back=False)
    day += _DAY
    while day.isoweekday() % 7 not in schedule.weekdays:
        day += _DAY
    return day


def _month_day(number: int, day: date, *, back: bool) -> date:
    """The nearest such day of a month, this one or before or after it; a month without a 31st has no tick."""
    months = day.year * 12 + day.month - 1
    for month in range(months, months - 3, -1) if back else range(months, months + 3):
        first = date(month // 12, month % 12 + 1, 1)
        found = first + (number - 1) * _DAY
        if found.month == first.month and (found <= day if back else found >= day):
            return found
    raise AssertionError("of two months in a row one has 31 days")


@lru_cache(maxsize=65_536)
def _cron_day(days: str, day: date, *, back: bool) -> date:
    from croniter import croniter  # a slow import, and most schedules need none

    midnight = datetime.combine(day + _DAY if back else day, time.min)
    schedule = croniter(f"0 0 {days}", midnight)
    found: datetime = schedule.get_prev(datetime) if back else schedule.get_next(datetime)
    return found.date()


@lru_cache(maxsize=4_096)
def of_cron(cron: str, zone: str, shift: int) -> Schedule:
    """The schedule of a cron expression of five fields. Raises croniter's CroniterError for one that is none."""
    from croniter import croniter

    fields, nth, *_ = croniter.expand(cron)
    minutes, hours, month_days, months, weekdays = fields
    clock = tuple(60 * hour + minute for hour in _numbers(hours, 24) for minute in _numbers(minutes, 60))
    if not nth and months == ["*"]:
        if month_days == ["*"] and hours == ["*"] and weekdays == ["*"] and minutes != ["*"]:
            return Schedule("hourly", zone, _numbers(minutes, 60), shift=shift)
        if len(clock) == 1 and month_days == ["*"]:
            return Schedule("plain", zone, clock, weekdays=frozenset(day % 7 for day in _numbers(weekdays, 7)))
        if len(clock) == 1 and weekdays == ["*"] and len(month_days) == 1 and month_days[0] in _EVERY_MONTH:
            return Schedule("plain", zone, clock, month_day=int(month_days[0]))
    days = " ".join(cron.split()[2:])
    return Schedule("hours" if hours == ["*"] else "other", zone, clock, days=days)


_EVERY_MONTH = range(1, 29)  # the days that each month has


def _numbers(field: Sequence[int | str], size: int) -> tuple[int, ...]:
    return tuple(range(size)) if "*" in field else tuple(sorted(int(number) for number in field))
