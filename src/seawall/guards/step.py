"""`Step`: what `Guard` and `Check` have in common."""

from __future__ import annotations

from seawall.callables import PathArgument
from seawall.guards.requirements import Requirements, requirement_of
from seawall.guards.service import Serviced


class Step(Serviced):
    """What `Guard` and `Check` have in common."""

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

    def accepts(self) -> bool:
        """Whether it accepts the upgrade in order to talk, as `first_message` does; a page cannot use it then."""
        return False
