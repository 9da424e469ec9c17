"""Pages that are right: the function takes what the guard proves, or a base class of it, and is returned unchanged."""

from __future__ import annotations

from typing import assert_type

from seawall import Anonymous, Claims, Cookie, Provided, Request, Response, bearer, public, redirect
from tests.typing.house import Admin, app, load_person, member, promote, verifier

admin = member >> load_person >> promote


@app.page("/open")
async def for_everybody(request: Request[Anonymous]) -> Response:
    """Without a guard everybody may ask."""
    assert_type(request.principal, Anonymous)
    assert_type(request.body, bytes)
    assert_type(request.form().get("name"), str | None)
    return Response("text", cookies=[Cookie(name="a", value="b", same_site="Strict")])


@app.page("/mine", guard=bearer(verifier), methods=["GET", "POST"])
async def for_a_token(request: Request[Claims]) -> Response:
    """The guard says who asks."""
    assert_type(request.principal, Claims)
    return redirect("/")


@app.page("/any", guard=admin)
async def for_anything(request: Request[object]) -> Response:
    """A base class of what is proved will do."""
    return Response(b"bytes", status=201, media_type="image/png", headers=[("ETag", '"1"')])


@app.page("/admin", guard=admin)
async def for_an_admin(request: Request[Admin]) -> Response:
    """A principal of the application's own."""
    return Response(request.principal.name)


def value_of(request: Request[Claims], handle: Provided[int]) -> int:
    """Lifespan values are typed."""
    return request.provided(handle)


assert_type(app.page("/fixed", "text", media_type="text/plain"), None)
app.page("/either", guard=bearer(verifier) | public)
