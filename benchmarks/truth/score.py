"""A score: statements about the ledger, each true or not, with what was expected and found."""

import msgspec


class Check(msgspec.Struct, frozen=True):
    """One statement about the ledger."""

    name: str
    holds: bool
    detail: str = ""


class Score(msgspec.Struct, frozen=True):
    """How many of the statements about one capture hold."""

    title: str
    checks: tuple[Check, ...]
    untold: frozenset[str] = frozenset()  # names of checks that no event tells the answer of

    @property
    def held(self) -> int:
        return sum(check.holds for check in self.checks)

    @property
    def failures(self) -> list[str]:
        """What does not hold though the events tell it."""
        return [
            f"{check.name}: {check.detail}"
            for check in self.checks
            if not check.holds and check.name not in self.untold
        ]

    def line(self) -> str:
        """The score as one line of a table."""
        missing = f"   ({len(self.untold)} that no event tells)" if self.untold else ""
        return f"{self.title:<58} {self.held:>4} of {len(self.checks):>3}{missing}"


def equal(name: str, found: object, expected: object) -> Check:
    """That something was found as it was expected."""
    return Check(name, found == expected, f"expected {expected!r}, found {found!r}")
