"""The rows S1 to S9: what is held against what, and how far it may go."""

import statistics

# Row, what, unit, cell, peer that it is held against (None: the figure itself), must, aim; in the gate's sample, what must hold.
ROWS = [
    ("S1", "CPU/request, 16 connections", "µs", "cpu16", "envoy", 0.40, 0.30, 0.50),
    ("S1", "CPU/request, 64 connections", "µs", "cpu64", "envoy", 0.40, 0.30, None),
    ("S2", "CPU/request, 16 connections", "µs", "cpu16", "nginx", 1.25, 1.00, None),
    ("S2", "CPU/request, 64 connections", "µs", "cpu64", "nginx", 1.25, 1.00, None),
    ("S4", "instructions a request", "", "instructions", None, 40_000, 25_000, 55_000),
    ("S5", "latency added at 2,000/s, p50", "µs", "added50", "envoy", 0.65, 0.45, None),
    ("S5", "latency added at 2,000/s, p99", "µs", "added99", "envoy", 0.65, 0.45, None),
    ("S7", "h2c CPU/request, 8 × 16", "µs", "h2", "envoy", 0.60, 0.40, None),
    ("S8", "RSS, idle", "MiB", "rss", "envoy", 0.20, 0.15, None),
    ("S8", "RSS after 64 connections", "MiB", "rss64", "envoy", 0.20, 0.15, None),
    ("S8", "RSS with 5,000 endpoints", "MiB", "rss5000", None, 20, 12, None),
    ("S9", "exec to first 200", "ms", "start", "envoy", 0.20, 0.10, None),
    ("S9", "binary", "MB", "binary", None, 12, 8, None),
]
PEERS = ("outrigger", "envoy", "nginx", "haproxy")


def added(found: dict[str, dict[str, list[float]]]) -> None:
    """What a proxy adds to the latency of the endpoint alone, round by round."""
    for cell, source in (("added50", "p50"), ("added99", "p99")):
        by = found.get(source, {})
        direct = by.get("direct", [])
        found[cell] = {
            name: [value - own for value, own in zip(values, direct)] for name, values in by.items() if name != "direct"
        }


def table(found: dict[str, dict[str, list[float]]], quick: bool) -> tuple[int, str]:
    """The table, and how many goals were missed."""
    added(found)
    lines = [f"{'row':3} {'what':31} {'outrigger':>10} {'envoy':>10} {'nginx':>10} {'haproxy':>10}   {'held against':12} {'figure':>8} {'must':>8} {'aim':>8}"]
    missed = asked = 0
    for row, what, unit, cell, peer, must, aim, sample in ROWS:
        limit = sample if quick else must
        values = found.get(cell, {})
        if limit is None or not values.get("outrigger") or (peer and not values.get(peer)):
            continue
        medians = [f"{statistics.median(values[name]):,.1f}" if values.get(name) else "" for name in PEERS]
        if peer:
            figure = statistics.median(ours / theirs for ours, theirs in zip(values["outrigger"], values[peer]))
        else:
            figure = statistics.median(values["outrigger"])
        number = (lambda n: f"{n:.2f}") if peer else (lambda n: f"{n:,.0f}" if n >= 100 else f"{n:.1f}")
        holds = figure <= limit
        asked, missed = asked + 1, missed + (not holds)
        verdict = "" if holds else "MISSED"
        lines.append(
            f"{row:3} {f'{what}, {unit}' if unit else what:31} {medians[0]:>10} {medians[1]:>10} {medians[2]:>10} {medians[3]:>10}   "
            f"{peer or '':12} {number(figure):>8} {number(limit):>8} {number(aim):>8} {verdict}"
        )
    lines.append(f"{asked - missed} passed, {missed} failed")
    return missed, "\n".join(lines)
