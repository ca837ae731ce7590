"""What a sensor says where the ledger does not answer: one line with what to do, instead of a stack trace each tick.

Guarantees that it is a function of the error alone, so that ticks which meet the same trouble say the same.
"""

from resources.model import DataForgeError, FieldError, InvalidInput, NotFound


def one_line(error: DataForgeError, meanwhile: str) -> str:
    """What is wrong, what to do, and what becomes of the work of this tick."""
    return f"{' '.join(str(error).split()).rstrip('.')}{_remedy(error)}. {meanwhile}"


def and_more(number: int) -> str:
    """The end of a line that names the first of several."""
    return f", and {number} more" if number > 0 else ""


def _remedy(error: DataForgeError) -> str:
    """What an error does not say itself, since only here it is known what was asked: the environment is the one name
    in it that may not exist, and the place in the feed the one value that Dagster has kept."""
    match error:
        case NotFound(candidates=[*known]):
            there = f" (there {'is' if len(known) == 1 else 'are'} {', '.join(known)})" if known else ""
            return f"{there}: correct DATAFORGE_ENVIRONMENT, or record something there"
        case InvalidInput(errors=[FieldError(field="after" | "cursor"), *_]):
            return ": reset this sensor's cursor, and it begins anew without writing anything twice"
    return ""
