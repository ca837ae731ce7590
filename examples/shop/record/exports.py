"""What the shop's own systems export each night: orders, payments, customers; the same rows every time.

Three exports are as the story wants them: the orders of 2026-11-05 once wrong and once corrected, the payments of
2026-11-12 cut off in the middle of a row, and no payments of 2026-11-15 at all.
"""

from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import NamedTuple

FIRST, DAYS = date(2026, 11, 2), 14
CORRECTED, CUT_OFF, NEVER_CAME = date(2026, 11, 5), date(2026, 11, 12), date(2026, 11, 15)
CUSTOMERS = 30
VAT = Decimal("1.19")
CENT = Decimal("0.01")


class Order(NamedTuple):
    """A row of the orders' export; `amount` is with VAT."""

    order_id: str
    customer_id: str
    ordered_at: datetime
    amount: Decimal
    currency: str


def days() -> list[date]:
    """The recorded fortnight."""
    return [FIRST + timedelta(days=n) for n in range(DAYS)]


def orders(day: date) -> list[Order]:
    """20 to 40 orders, more at the weekend, in the order in which they came."""
    random = Random(f"orders {day}")
    number = random.randint(20, 30) + (8 if day.weekday() >= 5 else 0)
    seconds = sorted(random.randrange(6 * 3600, 23 * 3600) for _ in range(number))
    return [
        Order(
            f"O{day:%Y%m%d}-{place:03}",
            f"C{random.randint(1, CUSTOMERS):03}",
            datetime(day.year, day.month, day.day) + timedelta(seconds=second),  # noqa: DTZ001 - written as UTC
            Decimal(random.randint(800, 24_000)) * CENT,
            random.choices(("EUR", "GBP", "USD"), (8, 1, 1))[0],
        )
        for place, second in enumerate(seconds, start=1)
    ]


def orders_csv(day: date, *, corrected: bool) -> str:
    """The export of a day. Before it was corrected, 2026-11-05 had the amounts of every third order without VAT."""
    rows = ["order_id,customer_id,ordered_at,amount,currency"]
    for place, order in enumerate(orders(day)):
        wrong = day == CORRECTED and not corrected and place % 3 == 0
        amount = (order.amount / VAT).quantize(CENT) if wrong else order.amount
        rows.append(f"{order.order_id},{order.customer_id},{_written(order.ordered_at)},{amount},{order.currency}")
    return "\n".join(rows) + "\n"


def payments_csv(day: date) -> str:
    """The payment provider's export: nine orders of ten, each once and in full, minutes after the order."""
    random = Random(f"payments {day}")
    rows = ["payment_id,order_id,paid_at,method,amount,currency"]
    for order in orders(day):
        minutes, method = random.randint(1, 50), random.choices(("card", "wallet", "transfer"), (6, 3, 1))[0]
        if random.random() < 0.9:
            paid_at = _written(order.ordered_at + timedelta(minutes=minutes))
            payment_id = order.order_id.replace("O", "P")
            rows.append(f"{payment_id},{order.order_id},{paid_at},{method},{order.amount},{order.currency}")
    if day == CUT_OFF:
        del rows[17:]
        rows[16] = rows[16].rsplit(",", 2)[0] + ","
    return "\n".join(rows) + "\n"


def customers_csv(*, whole: bool) -> str:
    """The customers' file; while it is being replaced, a reader finds it cut off in the middle of a row."""
    random = Random("customers")
    rows = ["customer_id,segment,country"]
    for number in range(1, CUSTOMERS + 1):
        segment = random.choices(("regular", "new", "business"), (5, 3, 2))[0]
        rows.append(f"C{number:03},{segment},{random.choice(('DE', 'DE', 'FR', 'NL', 'GB', 'US'))}")
    return "\n".join(rows) + "\n" if whole else "\n".join(rows[:20]) + "\nC020"


def write(folder: Path) -> None:
    """All exports as they were on the first night: 2026-11-05 not yet corrected."""
    folder.mkdir(parents=True)
    for day in days():
        (folder / f"orders-{day}.csv").write_text(orders_csv(day, corrected=False), encoding="utf-8")
        if day != NEVER_CAME:
            (folder / f"payments-{day}.csv").write_text(payments_csv(day), encoding="utf-8")


def come(folder: Path) -> None:
    """The export that never came, after all."""
    (folder / f"payments-{NEVER_CAME}.csv").write_text(payments_csv(NEVER_CAME), encoding="utf-8")


def correct(folder: Path) -> None:
    """The export that came later, with the amounts as they are."""
    text = orders_csv(CORRECTED, corrected=True)
    (folder / f"orders-{CORRECTED}.csv").write_text(text, encoding="utf-8")


def _written(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
