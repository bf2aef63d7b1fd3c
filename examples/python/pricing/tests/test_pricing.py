"""Pricing over real sockets, with a peer that each test plays."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer, unused_port

from pricing.calls import Context, locate
from pricing.service import READINESS, application

Pricing = TestClient[web.Request, web.Application]
Play = Callable[[Callable[[web.Request], Awaitable[web.Response]]], Awaitable[None]]


@pytest.fixture
async def pricing(aiohttp_client: Callable[..., Awaitable[Pricing]]) -> Pricing:
    return await aiohttp_client(application("pricing-1"))


@pytest.fixture
def play(
    aiohttp_server: Callable[..., Awaitable[TestServer]], monkeypatch: pytest.MonkeyPatch
) -> Play:
    async def start(handler: Callable[[web.Request], Awaitable[web.Response]]) -> None:
        peer = web.Application()
        peer.router.add_get("/whoami", handler)
        monkeypatch.setenv("INVENTORY_URL", str((await aiohttp_server(peer)).make_url("")))

    return start


async def test_a_price_is_told_with_who_served_it(pricing: Pricing) -> None:
    answer = await pricing.get("/price/7")
    assert answer.status == 200
    assert answer.headers["x-served-by"] == "pricing-1"
    assert await answer.json() == {"id": 7, "cents": 107, "served_by": "pricing-1"}
    itself = await pricing.get("/whoami")
    assert await itself.json() == {"service": "pricing", "served_by": "pricing-1"}


@pytest.mark.parametrize("path", ["/price/x", "/price/1/2", "/ask/a.b", "/ask/..%2fetc"])
async def test_what_is_no_route_is_refused(pricing: Pricing, path: str) -> None:
    assert (await pricing.get(path)).status == 404


async def test_the_headers_of_the_contract_are_passed_on(pricing: Pricing, play: Play) -> None:
    received: dict[str, str] = {}

    async def peer(request: web.Request) -> web.Response:
        received.update((name.lower(), value) for name, value in request.headers.items())
        return web.Response(text="ok", headers={"x-served-by": "inventory-2"})

    await play(peer)
    sent = {
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "baggage": "outrigger.attempt=1",
        "x-outrigger-attempt": "1",
    }
    others = {"x-outrigger-deadline-ms": "5000", "x-outrigger-caller": "mallory", "x-secret": "1"}
    answer = await pricing.get("/ask/inventory", headers=sent | others)
    body = {"service": "inventory", "answered_by": "inventory-2", "served_by": "pricing-1"}
    assert await answer.json() == body
    assert sent.items() <= received.items()
    assert int(received["x-outrigger-deadline-ms"]) <= 5000
    assert not {"x-outrigger-caller", "x-secret"} & received.keys()


async def test_a_refusal_below_is_answered_with_its_reason(pricing: Pricing, play: Play) -> None:
    told = {"x-outrigger-reason": "circuit_open", "x-outrigger-attempts": "2", "retry-after": "3"}

    async def peer(_: web.Request) -> web.Response:
        return web.Response(status=503, headers=told)

    await play(peer)
    answer = await pricing.get("/ask/inventory")
    assert answer.status == 503
    assert {name: answer.headers[name] for name in told} == told


async def test_a_deadline_that_passes_is_a_504(pricing: Pricing, play: Play) -> None:
    async def peer(_: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    await play(peer)
    answer = await pricing.get("/ask/inventory", headers={"x-outrigger-deadline-ms": "50"})
    assert answer.status == 504


async def test_health_tells_that_it_drains(pricing: Pricing) -> None:
    assert (await pricing.get("/healthz")).status == 200
    app = pricing.app
    assert app is not None
    app[READINESS].draining = True
    answer = await pricing.get("/healthz")
    assert (answer.status, await answer.text()) == (503, "draining")


def test_a_service_is_found_by_its_variable_else_by_its_name() -> None:
    there = {"PRICE_LIST_URL": "http://127.0.0.1:1"}
    assert locate("price-list", there) == "http://127.0.0.1:1"
    assert locate("inventory", {}) == "http://inventory"


@pytest.mark.parametrize("told", ["", "-1", "soon", "\u0663"])
def test_a_deadline_that_is_no_number_does_not_count(told: str) -> None:
    assert not Context.of({"x-outrigger-deadline-ms": told}).bounded


async def test_sigterm_finishes_what_is_in_flight_and_ends_with_0(play: Play) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def peer(_: web.Request) -> web.Response:
        asked.set()
        await go.wait()
        return web.Response(text="ok", headers={"x-served-by": "inventory-2"})

    await play(peer)
    port = unused_port()
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "pricing",
        env={**os.environ, "PORT": str(port)},
        stderr=asyncio.subprocess.PIPE,
    )
    assert child.stderr is not None
    await child.stderr.readline()
    async with ClientSession() as client:
        in_flight = asyncio.create_task(client.get(f"http://127.0.0.1:{port}/ask/inventory"))
        await asked.wait()
        child.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.1)
        go.set()
        assert (await in_flight).status == 200
    assert await child.wait() == 0
