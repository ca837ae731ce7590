"""What is to be said where an upstream succeeded and what it reported is not what an edge asks for.

Guarantees that what was never reported satisfies nothing, and that the reason names it: the field, the values seen and
the values wanted.
"""

from collections.abc import Sequence

from dataforge.model.expression import Expression, judge, shown, unmet, words
from dataforge.model.upstream import Finding, Upstream, about
from dataforge.model.verdict import Code


def short_of(upstream: Upstream) -> Finding | None:
    """Why what the upstream reported does not satisfy its edge; None where it does, and where nothing is asked."""
    asked, values = upstream.where, upstream.reported.values
    if asked is None or (verdict := judge(asked, values)) is True:
        return None
    lacking = unmet(asked, values)
    message = f"{upstream.label} {_told(upstream, lacking)}, wanted {words(asked)}"
    # What is unknown of a run that is over stays so, but for checks, which other runs make afterwards.
    passes = verdict is None and all(_is_check(each) for each in lacking if judge(each, values) is None)
    return Finding(about(upstream, Code.CONDITION_UNMET, message), passes)


def _is_check(comparison: Expression) -> bool:
    return (comparison.field or "").startswith("check.")


def _told(upstream: Upstream, lacking: Sequence[Expression]) -> str:
    """What was reported of the fields that are in the way, and which of them never were."""
    values = upstream.reported.values
    fields = sorted({each.field for each in lacking if each.field is not None})
    told = [f"{field} = {shown(values[field])}" for field in fields if field in values]
    untold = [field for field in fields if field not in values]
    parts = [f"reported {', '.join(told)}"] if told else []
    if untold:
        kept = " (more was reported than is kept)" if upstream.reported.left_out else ""
        parts.append(f"never reported {', '.join(untold)}{kept}")
    return " and ".join(parts)
