"""Run pricing: ``python -m pricing``; port, peers and name come from the environment."""

import asyncio
import logging
import os
import signal
import socket

from aiohttp import web

from pricing.service import READINESS, application

log = logging.getLogger("pricing")


async def main() -> None:
    """Serve until SIGTERM, then finish what is in flight."""
    host, port = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8083"))
    instance = os.environ.get("INSTANCE_ID", f"pricing-{socket.gethostname()}-{port}")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    app = application(instance)
    # Longer than a caller's pool keeps an idle connection: it closes first, no request is lost.
    runner = web.AppRunner(app, keepalive_timeout=90, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port, shutdown_timeout=25).start()
    log.info("%s listens on %s:%d", instance, host, port)

    await stop.wait()
    app[READINESS].draining = True
    # Beside a sidecar 0 is right: callers were told before the signal came.
    await asyncio.sleep(float(os.environ.get("DRAIN_NOTICE_MS", "0")) / 1000)
    await runner.cleanup()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    asyncio.run(main())
