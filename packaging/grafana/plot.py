#!/usr/bin/env python3
"""Draws the graphs of the dashboard without Grafana: every panel over time, from a running Prometheus.

    plot.py --server http://localhost:9090 [--dashboard disk-guard-fleet.json] [--minutes 60] [--out disk-guard-fleet.png]

Needs matplotlib, which brings Pillow. The queries are the dashboard's own, with all its variables at "All".
"""

import argparse
import io
import json
import math
import time
import urllib.parse
import urllib.request
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.dates as dates  # noqa: E402
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import FuncFormatter  # noqa: E402
from PIL import Image  # noqa: E402

POINTS = 240


def fetch(server, query, start, end):
    """The series of a range query: a list of (labels, times, values)."""
    step = max(1, round((end - start) / POINTS))
    parameters = {"query": query, "start": start, "end": end, "step": step}
    url = f"{server.rstrip('/')}/api/v1/query_range?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        result = json.load(answer)["data"]["result"]
    return [
        (series["metric"], [point[0] for point in series["values"]], [float(point[1]) for point in series["values"]])
        for series in result
    ]


def legend(pattern, labels, shown):
    """Grafana's `{{label}}`."""
    for name, value in labels.items():
        pattern = pattern.replace("{{" + name + "}}", shown.get(value, value))
    return pattern or "all"


def scaled(value, units, base):
    size = abs(value)
    for unit in units[:-1]:
        if size < base:
            break
        size, value = size / base, value / base
    else:
        unit = units[-1]
    return f"{value:.3g} {unit}"


def axis(unit):
    """How a unit of Grafana's is written."""
    if unit == "percentunit":
        return lambda value, _: f"{value * 100:.0f} %"
    if unit in ("bytes", "Bps"):
        end = "/s" if unit == "Bps" else ""
        return lambda value, _: scaled(value, ["B", "KiB", "MiB", "GiB", "TiB"], 1024) + end
    if unit == "s":
        return lambda value, _: f"{value * 1000:.3g} ms" if abs(value) < 1 else f"{value:.3g} s"
    return lambda value, _: f"{value:g}"


def draw(axes, panel, server, shown, start, end):
    defaults = panel["fieldConfig"]["defaults"]
    drawn = 0
    for target in panel["targets"]:
        query = target["expr"].replace("$instance", ".*").replace("$mountpoint", ".*")
        for labels, times, values in fetch(server, query, start, end):
            if any(math.isfinite(value) for value in values):
                moments = [t / 86400 for t in times]
                axes.plot(moments, values, label=legend(target["legendFormat"], labels, shown), linewidth=1.4)
                drawn += 1
    axes.set_title(panel["title"], loc="left", fontsize=10)
    axes.yaxis.set_major_formatter(FuncFormatter(axis(defaults.get("unit"))))
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
    if defaults.get("custom", {}).get("scaleDistribution", {}).get("type") == "log":
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(axis(defaults.get("unit"))))
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    elif "max" in defaults:
        axes.set_ylim(defaults.get("min", 0), defaults["max"])
    elif drawn:
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    axes.grid(alpha=0.25)
    axes.tick_params(labelsize=7)
    if drawn:
        axes.legend(fontsize=6, loc="best", ncols=2)
    else:
        axes.text(0.5, 0.5, "no data", ha="center", transform=axes.transAxes)


def main():
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="http://localhost:9090")
    parser.add_argument("--dashboard", type=Path, default=here / "disk-guard-fleet.json")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--out", type=Path, default=Path("disk-guard-fleet.png"))
    parser.add_argument("--show", action="append", default=[], metavar="VALUE=TEXT", help="what legends say for a label's value")
    arguments = parser.parse_args()
    shown = dict(pair.split("=", 1) for pair in arguments.show)

    dashboard = json.loads(arguments.dashboard.read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] == "timeseries"]
    end = time.time()
    start = end - arguments.minutes * 60
    rows = math.ceil(len(panels) / 3)
    figure, grid = plt.subplots(rows, 3, figsize=(15, 3 * rows), squeeze=False)
    for axes, panel in zip(grid.flat, panels):
        draw(axes, panel, arguments.server, shown, start, end)
    for axes in grid.flat[len(panels):]:
        axes.axis("off")
    figure.suptitle(f"{dashboard['title']}, {arguments.minutes:g} minutes", fontsize=12)
    figure.tight_layout()
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=75)
    # Few colours: a third of the size, and the eye sees no difference.
    Image.open(drawn).convert("RGB").quantize(48).save(arguments.out, optimize=True)
    print(arguments.out)


if __name__ == "__main__":
    main()
