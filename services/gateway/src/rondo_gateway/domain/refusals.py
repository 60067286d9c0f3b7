"""What the gateway refuses, grouped as in `rondo_core.errors`; each carries a stable code.

Refusal
├── Unauthenticated  (Invalid)   no token, or one that does not prove who calls
├── Forbidden        (Invalid)   known, but not allowed
├── Unfit            (Invalid)   a body that is well-formed and breaks a rule
├── Missing          (NotFound)  the thing named does not exist for the caller
└── Refused          (Conflict)  the state of things does not allow it (any more)
"""

from rondo_core.errors import Conflict, Invalid, NotFound, RondoError

__all__ = ["Forbidden", "Missing", "Refusal", "Refused", "Unauthenticated", "Unfit"]


class Refusal(RondoError):
    """A call that is refused on purpose; its text is meant for the caller.

    Attributes:
        code: a short stable word that a client program can branch on.
        rule: the sentence for a person, which names the value found.
    """

    def __init__(self, code: str, rule: str) -> None:
        super().__init__(f"{code}: {rule}")
        self.code = code
        self.rule = rule


class Unauthenticated(Refusal, Invalid):
    """The caller did not prove who it is."""


class Forbidden(Refusal, Invalid):
    """The caller may not do this."""


class Unfit(Refusal, Invalid):
    """The body breaks a rule that its types do not show."""


class Missing(Refusal, NotFound):
    """The named thing does not exist, or not for this caller."""


class Refused(Refusal, Conflict):
    """The state of the named thing does not allow the call."""
