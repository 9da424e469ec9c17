"""Seawall: WebSocket applications on Trio, with structured concurrency and types that prove who is connected."""

from seawall.app import App, ListeningApp, run_apps
from seawall.compression import Deflate
from seawall.connection.connection import Connection
from seawall.connection.sessions import Sessions
from seawall.errors import (
    AuthTimeout,
    ConfigurationError,
    Disconnected,
    Draining,
    EventTimeout,
    Forbidden,
    IdleTimeout,
    Invalid,
    InvalidMessage,
    KeepaliveLost,
    Kicked,
    LeaseExpired,
    LifetimeReached,
    LimitReached,
    MessageTimeout,
    NoCredentials,
    ProtocolViolation,
    RefreshTokenReused,
    Refused,
    Revoked,
    SeawallError,
    SlowConsumer,
    SubscriptionLost,
    TokenExpired,
    TooManyInvalidMessages,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from seawall.events.events import Events
from seawall.guards.bearer import bearer
from seawall.guards.credential import Credential
from seawall.guards.functions import check, guard
from seawall.guards.gate import Gate
from seawall.guards.guard import Anonymous, Check, Guard, public
from seawall.guards.inherited import inherited
from seawall.guards.jwt.claims import Claims
from seawall.guards.jwt.rules import any_audience, any_issuer
from seawall.guards.jwt.verifier import TokenVerifier
from seawall.guards.origins import any_origin, same_origin
from seawall.guards.scopes import HasScopes, has_scope
from seawall.handshake import Handshake
from seawall.http.cookies import Cookie
from seawall.http.exchange import Request, Response, redirect
from seawall.http.hosts import any_host
from seawall.lifespan import Provided
from seawall.limits import LimitOverrides, Limits
from seawall.messages.codec import JSON, Codec, Fields, MessagePack, Sendable
from seawall.messages.tags import tag
from seawall.messages.validators import email, normalised_email
from seawall.observability.logs import configure_logging
from seawall.observability.outcome import Outcome
from seawall.observability.reports import ErrorReport
from seawall.observability.snapshot import ConnectionSnapshot
from seawall.policy.ending import Cause, Party
from seawall.policy.error_policy import Considered, ErrorPolicy
from seawall.policy.verdicts import Close, Context, Escalate, Ignore, Phase, Refuse, Reply, Verdict
from seawall.routing.route import AnyRoute, Route
from seawall.routing.router import Router
from seawall.serving.server import Server

__all__ = [
    "JSON",
    "Anonymous",
    "AnyRoute",
    "App",
    "AuthTimeout",
    "Cause",
    "Check",
    "Claims",
    "Close",
    "Codec",
    "ConfigurationError",
    "Connection",
    "ConnectionSnapshot",
    "Considered",
    "Context",
    "Cookie",
    "Credential",
    "Deflate",
    "Disconnected",
    "Draining",
    "ErrorPolicy",
    "ErrorReport",
    "Escalate",
    "EventTimeout",
    "Events",
    "Fields",
    "Forbidden",
    "Gate",
    "Guard",
    "Handshake",
    "HasScopes",
    "IdleTimeout",
    "Ignore",
    "Invalid",
    "InvalidMessage",
    "KeepaliveLost",
    "Kicked",
    "LeaseExpired",
    "LifetimeReached",
    "LimitOverrides",
    "LimitReached",
    "Limits",
    "ListeningApp",
    "MessagePack",
    "MessageTimeout",
    "NoCredentials",
    "Outcome",
    "Party",
    "Phase",
    "ProtocolViolation",
    "Provided",
    "RefreshTokenReused",
    "Refuse",
    "Refused",
    "Reply",
    "Request",
    "Response",
    "Revoked",
    "Route",
    "Router",
    "SeawallError",
    "Sendable",
    "Server",
    "Sessions",
    "SlowConsumer",
    "SubscriptionLost",
    "TokenExpired",
    "TokenVerifier",
    "TooManyInvalidMessages",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "Verdict",
    "any_audience",
    "any_host",
    "any_issuer",
    "any_origin",
    "bearer",
    "check",
    "configure_logging",
    "email",
    "guard",
    "has_scope",
    "inherited",
    "normalised_email",
    "public",
    "redirect",
    "run_apps",
    "same_origin",
    "tag",
]
