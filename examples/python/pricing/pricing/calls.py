"""Calls to other services by name, with what the contract says must travel along."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import ClientSession, ClientTimeout

PASSED_ON = (
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-sampled",
    "baggage",
    "x-request-id",
    "x-outrigger-attempt",
)
PASSED_BACK = ("retry-after", "x-outrigger-reason", "x-outrigger-attempts")
DEADLINE = "x-outrigger-deadline-ms"
PATIENCE = 10.0


@dataclass(frozen=True)
class Context:
    """What all calls made for one request have in common."""

    headers: Mapping[str, str]
    ends: float
    bounded: bool

    @classmethod
    def of(cls, received: Mapping[str, str]) -> "Context":
        """Read the context of a request that has just arrived."""
        told = received.get(DEADLINE, "")
        bounded = told.isascii() and told.isdigit()
        span = min(int(told) / 1000, PATIENCE) if bounded else PATIENCE
        headers = {name: received[name] for name in PASSED_ON if name in received}
        return cls(headers, time.monotonic() + span, bounded)

    def left(self) -> float:
        """Return the seconds until nobody waits for the answer any more."""
        return self.ends - time.monotonic()


@dataclass(frozen=True)
class Answer:
    """What a service answered, its body read."""

    status: int
    headers: Mapping[str, str] = field(repr=False)

    def passed_back(self) -> dict[str, str]:
        """Return the headers that tell the caller about a failure below."""
        return {name: self.headers[name] for name in PASSED_BACK if name in self.headers}


def locate(service: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return where a service is: ``INVENTORY_URL``, else its name for a proxy or DNS to resolve."""
    return environ.get(f"{service.upper().replace('-', '_')}_URL") or f"http://{service}"


async def call(session: ClientSession, service: str, path: str, context: Context) -> Answer:
    """Call a service; raise ``TimeoutError`` when the caller's time is over first."""
    left = context.left()
    if left <= 0:
        raise TimeoutError
    headers = dict(context.headers)
    if context.bounded:
        headers[DEADLINE] = str(int(left * 1000))
    timeout = ClientTimeout(total=left)
    async with session.get(locate(service) + path, headers=headers, timeout=timeout) as response:
        await response.read()
        return Answer(response.status, response.headers)
