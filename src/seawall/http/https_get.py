"""`HttpsGet`: a small document from a server, over HTTPS, for a bounded time and with a bounded size.

It does one thing: a GET that is answered with 200. It follows no redirect, asks no proxy of the environment, and
decompresses nothing. h11 reads the answer; Trio does the rest, without a thread but for the look-up of a name, which is
the system's.
"""

from __future__ import annotations

import re
import ssl
from functools import cache
from typing import Final, cast, final

import h11
import trio
from attrs import frozen

from seawall.printable import name_of, safe

#: Bytes of the head of an answer, and of a chunk's.
MAX_HEAD: Final = 16 * 1024

#: How many times a server may say that it will answer (RFC 9110, section 15.2).
MAX_INFORMATIONAL: Final = 8

_URL: Final = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?(/[!-\"$-~]*)?", re.IGNORECASE)


class FetchFailed(Exception):
    """There is no document. The text says why, for a line of a log."""


@final
@frozen
class Url:
    """Where a document is."""

    is_secure: bool
    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, text: str, *, insecure_http: bool) -> Url:
        """Read an absolute URL.

        Raises:
          FetchFailed: it is none that can be asked for. The text does not repeat it, because it may hold a credential.
        """
        match = _URL.fullmatch(text)
        if match is None:
            raise FetchFailed("the URL is not one of https, without a user, a password or a fragment")
        is_secure = match[1].lower() == "https"
        if not (is_secure or insecure_http):
            raise FetchFailed("the URL is not https")
        port = int(match[3] or (443 if is_secure else 80))
        if not 0 < port < 65_536:
            raise FetchFailed("the URL has no port")
        return cls(is_secure, match[2].strip("[]"), port, match[4] or "/")

    @property
    def authority(self) -> str:
        """The value of ``Host``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_secure else 80) else f"{host}:{self.port}"


@final
@frozen(kw_only=True)
class HttpsGet:
    """Gets a document by HTTPS: ``await HttpsGet(ssl_context=context)(url)``. `https_get` is one with the defaults."""

    ssl_context: ssl.SSLContext | None = None
    """Which certificates are good; None: those that the system trusts."""
    timeout: float = 5.0
    """Seconds for everything together: name, connection, TLS, question and answer."""
    max_bytes: int = 65_536
    """The most that a document may have."""
    insecure_http: bool = False
    """Whether ``http://`` is allowed, where whoever is on the way reads and writes the document."""

    async def __call__(self, url: str, /) -> bytes:
        """The document at `url`.

        Raises:
          FetchFailed: the server cannot be reached, or its certificate is not good; it answers with another status than
            200 (redirects are not followed), with more than `max_bytes`, with something compressed, or with what is no
            HTTP; or all that takes longer than `timeout`.
        """
        asked = Url.parse(url, insecure_http=self.insecure_http)
        try:
            with trio.fail_after(self.timeout):
                return await self._get(asked)
        except trio.TooSlowError:
            raise FetchFailed(f"no answer of {safe(asked.authority)} within {self.timeout:g} s") from None
        except (OSError, trio.BrokenResourceError, UnicodeError) as error:
            raise FetchFailed(f"{safe(asked.authority)} cannot be reached: {name_of(_innermost(error))}") from None
        except h11.RemoteProtocolError as error:
            raise FetchFailed(f"{safe(asked.authority)} answers with what is no HTTP: {name_of(error)}") from None

    async def _get(self, url: Url) -> bytes:
        stream: trio.abc.Stream
        if url.is_secure:
            context = _system_context() if self.ssl_context is None else self.ssl_context
            stream = await trio.open_ssl_over_tcp_stream(url.host, url.port, https_compatible=True, ssl_context=context)
        else:
            stream = await trio.open_tcp_stream(url.host, url.port)
        try:
            answer = Answer(url, self.max_bytes)
            await stream.send_all(answer.question)
            while True:
                document = answer.receive_data(await stream.receive_some())
                if document is not None:
                    return document
        finally:
            await trio.aclose_forcefully(stream)


https_get: Final = HttpsGet()
"""Gets a document of 64 KiB at most from a server that the system trusts, within 5 seconds."""


@final
class Answer:
    """The question, and the answer as it comes in. It does no I/O."""

    def __init__(self, url: Url, max_bytes: int) -> None:
        """Ask for `url`; a document of more than `max_bytes` is refused."""
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._body = bytearray()
        self._max_bytes = max_bytes
        self._left = 2 * max_bytes + 4 * MAX_HEAD  # with the heads, and that of each chunk
        self._informational = 0
        headers = {
            "Host": url.authority,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Connection": "close",
            "User-Agent": "seawall",
        }
        request = h11.Request(method="GET", target=url.target, headers=list(headers.items()))
        self.question: Final = b"".join(self._connection.send(event) or b"" for event in (request, h11.EndOfMessage()))
        """What is to be sent."""

    def receive_data(self, data: bytes | bytearray) -> bytes | None:
        """Take bytes that have come, or none if nothing more will; the document, when it is complete.

        Raises:
          FetchFailed, h11.RemoteProtocolError: this answer has none.
        """
        self._left -= len(data)
        if self._left < 0:
            raise self._too_large()
        self._connection.receive_data(bytes(data))
        while True:
            event = self._connection.next_event()
            if event is h11.NEED_DATA:
                return None
            if isinstance(event, h11.EndOfMessage):
                return bytes(self._body)
            self._take(event)

    def _take(self, event: object) -> None:
        if isinstance(event, h11.Response):
            self._check(event)
        elif isinstance(event, h11.Data):
            self._body += event.data
            if len(self._body) > self._max_bytes:
                raise self._too_large()
        else:  # an informational response
            self._informational += 1
            if self._informational > MAX_INFORMATIONAL:
                raise FetchFailed("the server says again and again that it will answer")

    def _check(self, response: h11.Response) -> None:
        if response.status_code != 200:
            followed = ", and redirects are not followed" if 300 <= response.status_code < 400 else ""
            raise FetchFailed(f"the server answers {response.status_code}, not 200{followed}")
        for name, value in response.headers:
            if name == b"content-encoding" and value.lower() not in (b"", b"identity"):
                raise FetchFailed("the server sends it compressed, which it was not asked for")
            if name == b"content-length" and int(value) > self._max_bytes:
                raise self._too_large()

    def _too_large(self) -> FetchFailed:
        return FetchFailed(f"the answer has more than {self._max_bytes} bytes")


@cache
def _system_context() -> ssl.SSLContext:
    """What the system trusts; loading that takes 20 ms, once."""
    return ssl.create_default_context()


def _innermost(error: BaseException) -> BaseException:
    """The cause of all causes: Trio says what has failed, and the cause why."""
    while True:
        cause = _cause(error)
        if cause is None:
            return error
        error = cause


def _cause(error: BaseException) -> BaseException | None:
    if isinstance(error, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error.__cause__
