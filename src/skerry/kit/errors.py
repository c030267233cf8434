"""The vocabulary of errors: what the caller should do next, not which module noticed.

    SkerryError
    ├── InvalidInput     the caller's words are wrong: tell the person, never retry
    │   └── TooLarge     more than is ever read (HTTP 413)
    ├── NotFound         the named object does not exist
    ├── Refused          asked correctly, but it may not or cannot be done now; the text says why
    │   └── StorageFull  accepted records would have to be dropped (HTTP 507)
    ├── Transient        try again later; nothing is wrong with the request
    │   └── Busy         too many ask at once: later (HTTP 429)
    └── Corrupt          stored data is not what was written: set aside, report, rebuild

Messages have the form «cannot <verb> <object>: <cause>» and, where there is one, the way out.
"""


class SkerryError(Exception):
    """Any failure that Skerry expects and explains."""


class InvalidInput(SkerryError):
    """The request or file is wrong and will be wrong again."""


class TooLarge(InvalidInput):
    """More than this side reads; sending less may work."""


class NotFound(SkerryError):
    """The named object does not exist."""


class Refused(SkerryError):
    """Correctly asked, but not allowed or not possible in this state."""


class StorageFull(Refused):
    """Accepting more would mean dropping what was accepted before."""


class Transient(SkerryError):
    """Expected to succeed later without any change."""


class Busy(Transient):
    """More are asking than can be answered in time; what stands stays as it is. `after` is when to ask again, in seconds."""

    def __init__(self, message: str, after: int = 1) -> None:
        super().__init__(message)
        self.after = after


class Corrupt(SkerryError):
    """Stored data fails its own checks."""
