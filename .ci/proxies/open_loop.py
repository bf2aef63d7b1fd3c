#!/usr/bin/env python3
"""Requests at times that do not depend on answers: Poisson arrivals, latency from the intended send time.

Usage: open_loop.py PORT RATE SECONDS; prints p50 and p99 in µs. A request finds an idle connection or opens one.
"""

import ctypes
import gc
import random
import select
import socket
import sys
import time

from load import REQUEST

PR_SET_TIMERSLACK = 29
BODY = 1024


def connect(port: int) -> socket.socket:
    peer = socket.create_connection(("127.0.0.1", port))
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.setblocking(False)
    return peer


def main() -> None:
    port, rate, seconds = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    # Sleeps of 50 µs more than asked for would be most of what is measured.
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
    gc.disable()
    random.seed(7)
    idle = [connect(port) for _ in range(16)]
    busy: dict[int, tuple[socket.socket, float, bytes]] = {}
    latencies = []
    begin = time.perf_counter() + 0.05
    warm = begin + seconds / 5
    end = begin + seconds
    due = begin
    epoll = select.epoll()
    for peer in idle:
        epoll.register(peer.fileno(), select.EPOLLIN)
    while True:
        now = time.perf_counter()
        while due <= now and due < end:
            if idle:
                peer = idle.pop()
            else:
                peer = connect(port)
                epoll.register(peer.fileno(), select.EPOLLIN)
            peer.send(REQUEST)
            busy[peer.fileno()] = (peer, due, b"")
            due += random.expovariate(rate)
            now = time.perf_counter()
        if due >= end and (not busy or now > end + 5):
            break
        # epoll's own time-outs are whole milliseconds: the file that select waits for is epoll itself.
        left = max(0.0, due - now) if due < end else 0.1
        if not select.select([epoll], [], [], left)[0]:
            continue
        for number, _ in epoll.poll(0):
            if number not in busy:
                raise SystemExit("an idle connection was closed")
            peer, sent, got = busy[number]
            got += peer.recv(65536)
            head = got.find(b"\r\n\r\n")
            if head < 0 or len(got) < head + 4 + BODY:
                if not got:
                    raise SystemExit("a connection was closed before its answer")
                busy[number] = (peer, sent, got)
                continue
            if not got.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"no 200: {got[:100]!r}")
            if sent >= warm:
                latencies.append(time.perf_counter() - sent)
            del busy[number]
            idle.append(peer)
    if busy:
        raise SystemExit(f"{len(busy)} requests were never answered")
    latencies.sort()
    print(latencies[len(latencies) // 2] * 1e6, latencies[int(len(latencies) * 0.99)] * 1e6)


if __name__ == "__main__":
    main()
