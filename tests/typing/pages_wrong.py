"""Pages that are wrong, one a line: each line is an error for mypy and for pyright, or this file fails the check."""

# pyright: reportUnusedVariable=false, reportUnusedExpression=false

from __future__ import annotations

from seawall import Anonymous, Claims, Cookie, Request, Response, bearer
from tests.typing.house import app, verifier


async def for_claims(request: Request[Claims]) -> Response:
    """Takes what `bearer` proves."""
    return Response()


async def for_everybody(request: Request[Anonymous]) -> Response:
    """Takes what nobody has to prove."""
    return Response()


async def says_text(request: Request[Anonymous]) -> str:
    """Answers with no `Response`."""
    return ""


def is_not_async(request: Request[Anonymous]) -> Response:
    """Cannot be awaited."""
    return Response()


app.page("/a")(for_claims)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # nobody proves them
app.page("/b", guard=bearer(verifier))(for_everybody)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the guard proves claims
app.page("/c")(says_text)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # text is no response
app.page("/d")(is_not_async)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it has to be async
app.page("/e", methods=["PUT"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]  # GET and POST
app.page("/f", "fixed", guard=bearer(verifier))  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]  # a fixed page is everybody's
app.page("/g", {"a": 1})  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # text or bytes
Response({"a": 1})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # text or bytes
Response("text", 404)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # by name: a status?
Cookie(name="a", value="b", same_site="lax")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as browsers spell it
Cookie("a", "b")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # by name
