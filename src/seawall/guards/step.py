"""`Step`: what `Guard` and `Check` have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import reduce

from seawall.callables import PathArgument
from seawall.errors import ConfigurationError
from seawall.guards.requirements import NOTHING, Requirements, both, requirement_of
from seawall.guards.service import Service, Serviced, services_of
from seawall.guards.ticket_taker import TicketTaker


class Step(Serviced):
    """What `Guard` and `Check` have in common."""

    def __bool__(self) -> bool:
        """Refuse ``and`` and ``or``, of which Python makes one of the two; what the other demands is never asked.

        Raises:
          ConfigurationError: always.
        """
        raise ConfigurationError(
            "a guard or a check is neither true nor false, and of `a and b` Python would keep only one; write `a >> b` "
            "for both, `a | b` for either, and `is None` to ask whether there is one"
        )

    def parameters(self) -> tuple[tuple[PathArgument, ...], ...]:
        """The path parameters that the functions in this chain take; see `guard` and `check`."""
        return ()

    def describe(self) -> Requirements:
        """What it asks for, in words and as a security scheme: alternatives, one of which has to be satisfied.

        The words are the first line of the docstring, of the function or of the class; without one, its name.
        """
        kind = type(self)
        return requirement_of(kind.__dict__.get("__doc__"), kind.__name__)  # not its base's

    def needs_task(self) -> bool:
        """Whether it has to run in a task of its own, as an application's code does; Seawall's own steps need none."""
        return True

    def reads_cookie(self) -> bool:
        """Whether a cookie is a credential here, which a browser sends whatever page asks; override it where one is."""
        return False

    def takes_token(self) -> bool:
        """Whether a guard in this chain, such as `bearer`, takes a token that `Connection.renew` can replace."""
        return False

    def may_take_token(self) -> bool:
        """The same, or whether a guard of an application may do so by `Gate.admit_by`, and others let in without."""
        return self.takes_token()

    def takes_tickets(self) -> tuple[TicketTaker, ...]:
        """Where this chain takes a ticket, as `bearer` with `query` does; a page cannot use it then."""
        return ()

    def accepts(self) -> bool:
        """Whether it accepts the upgrade in order to talk, as `first_message` does; a page cannot use it then."""
        return False


class Composed(Step, ABC):
    """A step that is made of others, and is what they are together."""

    @abstractmethod
    def parts(self) -> tuple[Step, ...]:
        """The steps that it is made of, in the order in which they are asked."""

    def parameters(self) -> tuple[tuple[PathArgument, ...], ...]:
        """Those of all its parts."""
        return tuple(wanted for part in self.parts() for wanted in part.parameters())

    def describe(self) -> Requirements:
        """What all its parts ask for."""
        return reduce(both, (part.describe() for part in self.parts()), NOTHING)

    def needs_task(self) -> bool:
        """Whether one of its parts does."""
        return any(part.needs_task() for part in self.parts())

    def reads_cookie(self) -> bool:
        """Whether one of its parts does."""
        return any(part.reads_cookie() for part in self.parts())

    def takes_token(self) -> bool:
        """Whether one of its parts does."""
        return any(part.takes_token() for part in self.parts())

    def may_take_token(self) -> bool:
        """Whether one of its parts may."""
        return any(part.may_take_token() for part in self.parts())

    def takes_tickets(self) -> tuple[TicketTaker, ...]:
        """Where all its parts do."""
        return tuple(taker for part in self.parts() for taker in part.takes_tickets())

    def accepts(self) -> bool:
        """Whether one of its parts does."""
        return any(part.accepts() for part in self.parts())

    def services(self) -> tuple[Service, ...]:
        """Those of all its parts, each once."""
        return services_of(*self.parts())
