"""What another platform answers when it does not do what it was asked."""

from dataforge.model.errors import DataForgeError


class Refused(DataForgeError):
    """Another platform cannot be reached or refuses what it was asked. The message names it and what to do."""


class Gone(Refused):
    """What something runs on is no more: nothing will be heard of it."""
