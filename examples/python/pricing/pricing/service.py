"""The routes of pricing."""

import re

from aiohttp import ClientError, ClientSession, web

from pricing.calls import Context, call

INSTANCE = web.AppKey("INSTANCE", str)
SESSION = web.AppKey("SESSION", ClientSession)
NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")

routes = web.RouteTableDef()


class Readiness:
    """Whether this instance still wants requests."""

    def __init__(self) -> None:
        """Start out ready."""
        self.draining = False


READINESS = web.AppKey("READINESS", Readiness)


def answer(request: web.Request, status: int = 200, **body: object) -> web.Response:
    """Answer with a body that names who made it."""
    return web.json_response({**body, "served_by": request.app[INSTANCE]}, status=status)


@routes.get(r"/price/{id:\d{1,18}}")
async def price(request: web.Request) -> web.Response:
    """Tell what an article costs."""
    number = int(request.match_info["id"])
    return answer(request, id=number, cents=100 + number % 900)


@routes.get("/ask/{service}")
async def ask(request: web.Request) -> web.Response:
    """Call a service by its name and tell which instance answered."""
    service = request.match_info["service"]
    if not NAME.fullmatch(service):
        return answer(request, 404, error="no such service")
    try:
        below = await call(request.app[SESSION], service, "/whoami", Context.of(request.headers))
    except TimeoutError:
        return answer(request, 504, error="deadline")
    except ClientError:
        return answer(request, 502, error="a service below gave no answer")
    if below.status != web.HTTPOk.status_code:
        failed = answer(request, below.status, error="a service below failed")
        failed.headers.update(below.passed_back())
        return failed
    return answer(request, service=service, answered_by=below.headers.get("x-served-by"))


@routes.get("/whoami")
async def whoami(request: web.Request) -> web.Response:
    """Name the service and the instance."""
    return answer(request, service="pricing")


@routes.get("/healthz")
async def healthz(request: web.Request) -> web.Response:
    """Say whether this instance wants requests."""
    if request.app[READINESS].draining:
        return web.Response(status=503, text="draining")
    return web.Response(text="ok")


async def sign(request: web.Request, response: web.StreamResponse) -> None:
    """Name the instance on every answer."""
    response.headers["x-served-by"] = request.app[INSTANCE]
    if request.app[READINESS].draining:
        response.force_close()


async def session(app: web.Application) -> None:
    """Open the one pool of connections; ``trust_env`` makes it obey ``HTTP_PROXY``."""
    app[SESSION] = ClientSession(trust_env=True)


async def close_session(app: web.Application) -> None:
    """Close the pool."""
    await app[SESSION].close()


def application(instance: str) -> web.Application:
    """Make the service as ``instance``."""
    app = web.Application()
    app[INSTANCE] = instance
    app[READINESS] = Readiness()
    app.add_routes(routes)
    app.on_response_prepare.append(sign)
    app.on_startup.append(session)
    app.on_cleanup.append(close_session)
    return app
