"""Properties of sessions: whatever is presented when, one line of tokens is good, and any other token ends it."""

from __future__ import annotations

import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from seawall import clock
from seawall.errors import RefreshTokenReused, Unauthorized
from seawall.login.session_store import REUSE_WITHIN
from seawall.sessions import MemorySessions, TokenIssuer, Tokens
from tests.kit.tokens import SECRET

LIFETIME = 5000.0


class Model:
    """A session, as it should be: the tokens that it has had, and when the last one was used."""

    def __init__(self, first: Tokens, now: float) -> None:
        """Begin with its first token."""
        self.line = [first]
        self.used_at = now
        self.ends_at = first.refresh_expires_at
        self.is_over = False


class Sessions(RuleBasedStateMachine):
    """Clients that log in, renew, renew again, and out; thieves; a clock that goes both ways; restarts."""

    sessions: Bundle[Model] = Bundle("sessions")

    def __init__(self) -> None:
        """Begin with an empty store."""
        super().__init__()
        self.now = 1_750_000_000.0
        self.store = MemorySessions()
        self.issuer = self.made()
        self.all: list[Model] = []
        self.real = clock.source
        clock.source = lambda: self.now

    def teardown(self) -> None:
        """Give the clock back."""
        clock.source = self.real

    def made(self) -> TokenIssuer:
        """An issuer, as after a restart."""
        return TokenIssuer(SECRET, issuer="here", audience="chat", refresh_lifetime=LIFETIME, store=self.store)

    @initialize(target=sessions)
    def first(self) -> Model:
        """There is one session at least."""
        return self.begin()

    @rule(target=sessions)
    def log_in(self) -> Model:
        """Another session."""
        return self.begin()

    def begin(self) -> Model:
        """A new session, whose id nobody has had."""
        tokens = trio.run(lambda: self.issuer.begin("ada"))
        assert tokens.session_id not in {model.line[0].session_id for model in self.all}
        model = Model(tokens, self.now)
        self.all.append(model)
        self.forget()
        return model

    def forget(self) -> None:
        """Note which sessions have ended: a store gives these up when another begins."""
        for model in self.all:
            model.is_over |= model.ends_at <= self.now

    @rule(model=sessions, back=st.integers(0, 4), tasks=st.integers(1, 3))
    def present(self, model: Model, back: int, tasks: int) -> None:
        """Some tasks present at once a token of the session: the last one, or one of those before it."""
        index = max(len(model.line) - 1 - back, 0)
        found = self.presented(model.line[index].refresh, tasks)
        if model.is_over or model.ends_at <= self.now:
            model.is_over = True
            assert found == ["Unauthorized"] * tasks
        elif index == len(model.line) - 1 and not (index and abs(self.now - model.used_at) <= REUSE_WITHIN):
            self.check_new(model, found)
        elif index >= len(model.line) - 2 and abs(self.now - model.used_at) <= REUSE_WITHIN:
            assert found == [model.line[-1]] * tasks
        else:
            model.is_over = True
            assert found == ["RefreshTokenReused", *["Unauthorized"] * (tasks - 1)]

    def check_new(self, model: Model, found: list[Tokens | str]) -> None:
        """All tasks have got one pair, of tokens that nobody has had, within the session."""
        (pair,) = {one for one in found if isinstance(one, Tokens)}
        assert found == [pair] * len(found)
        assert pair.refresh not in {one.refresh for each in self.all for one in each.line}
        assert pair.access not in {one.access for each in self.all for one in each.line}
        assert pair.session_id == model.line[0].session_id
        assert pair.access_expires_at <= pair.refresh_expires_at == model.ends_at
        model.line.append(pair)
        model.used_at = self.now

    def presented(self, refresh: str, tasks: int) -> list[Tokens | str]:
        """What so many tasks get for it, the name of an error among it."""
        found: list[Tokens | str] = []

        async def one() -> None:
            try:
                found.append(await self.issuer.rotate(refresh))
            except Unauthorized as refusal:
                found.append(type(refusal).__name__)
                if isinstance(refusal, RefreshTokenReused):
                    ended = next(model for model in self.all if model.line[0].session_id == refusal.session_id)
                    assert refresh in {tokens.refresh for tokens in ended.line}

        async def several() -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(tasks):
                    nursery.start_soon(one)

        trio.run(several)
        return sorted(found, key=lambda each: str(each) if isinstance(each, str) else "")

    @rule(seconds=st.sampled_from([0.1, 1.0, 9.9, 10.0, 10.1, 600.0, LIFETIME - 300.0, LIFETIME]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @rule(seconds=st.sampled_from([0.1, 5.0, 60.0, 3600.0]))
    def set_back(self, seconds: float) -> None:
        """Somebody sets the clock back."""
        self.now -= seconds

    @rule()
    def restart(self) -> None:
        """Another process goes on with the same key and the same store."""
        self.issuer = self.made()

    @rule(model=consumes(sessions))
    def log_out(self, model: Model) -> None:
        """A session is ended; none of its tokens is good then."""
        trio.run(lambda: self.issuer.end(model.line[0].session_id))
        model.is_over = True
        assert self.presented(model.line[-1].refresh, 1) == ["Unauthorized"]

    @precondition(lambda self: len(self.all) > 2)
    @rule()
    def log_out_everywhere(self) -> None:
        """All that are there are ended, and told; what has ended may be among them, if nobody has looked since."""
        ended = set(trio.run(lambda: self.issuer.end_all("ada")))
        assert {model.line[0].session_id for model in self.all if not model.is_over} == ended
        for model in self.all:
            model.is_over = True

    @invariant()
    def is_bounded(self) -> None:
        """The store holds the sessions that are not over, and nothing else."""
        assert len(self.store) == sum(not model.is_over for model in self.all)


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
