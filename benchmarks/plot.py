#!/usr/bin/python3
"""Draws the plots of docs/ from Google Benchmark's JSON: medians, with a band from the least to the
greatest of the repetitions. The same input gives the same bytes.

plot.py <directory of JSON files> <output directory>
"""

import pathlib
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update(
    {
        "svg.hashsalt": "cowindex",  # else ids are random
        "svg.fonttype": "none",  # text stays text
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans", "Arial", "sans-serif"],
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#e6e6e6",
        "legend.frameon": False,
        "figure.facecolor": "white",  # a card of its own, readable on a dark page too
        "savefig.facecolor": "white",
    }
)

import matplotlib.pyplot as plot  # noqa: E402
from matplotlib.ticker import FuncFormatter  # noqa: E402

import results  # noqa: E402

OURS = "#0b6e4f"
OURS_LIGHT = "#6cc5a1"
LIMIT = "#222222"
PEERS = ["#4878a8", "#8fb4d9", "#c8553d", "#e6a08f", "#8a6fb0", "#c3a6dc", "#b8860b"]

READERS = [  # name, label, colour
    ("raw_pointer", "raw pointer (limit)", LIMIT),
    ("cowindex_pin", "CowIndex pin", OURS),
    ("cowindex_read_fn", "CowIndex read(fn)", OURS_LIGHT),
    ("cowindex_snapshot", "CowIndex snapshot", "#b5dfcd"),
    ("urcu_qsbr", "liburcu qsbr", PEERS[0]),
    ("urcu_memb", "liburcu memb", PEERS[1]),
    ("mutex", "std::mutex", PEERS[2]),
    ("shared_mutex", "std::shared_mutex", PEERS[3]),
    ("boost_atomic_shared_ptr", "boost::atomic_shared_ptr", PEERS[4]),
    ("std_atomic_shared_ptr", "std::atomic<shared_ptr>", PEERS[5]),
    ("tbb_concurrent_hash_map", "TBB concurrent_hash_map", PEERS[6]),
]


def duration(ns, _=None):
    for limit, divisor, unit in ((1e9, 1e9, "s"), (1e6, 1e6, "ms"), (1e3, 1e3, "µs")):
        if ns >= limit:
            return f"{ns / divisor:.3g} {unit}"
    return f"{ns:.3g} ns"


def count(value, _=None):
    for limit, divisor, unit in ((1e6, 1e6, "M"), (1e3, 1e3, "k")):
        if value >= limit:
            return f"{value / divisor:.3g}{unit}"
    return f"{value:g}"


def save(figure, directory, name):
    figure.savefig(
        directory / f"{name}.svg", format="svg", metadata={"Date": None, "Creator": None},
        bbox_inches="tight", pad_inches=0.15,
    )
    plot.close(figure)


def bars(axes, rows, title):
    """Horizontal bars of (label, colour, repetitions), the first on top."""
    positions = range(len(rows))
    for position, (_, colour, series) in zip(positions, rows):
        middle = sorted(series)[len(series) // 2]
        axes.barh(position, middle, color=colour, height=0.7)
        axes.plot([min(series), max(series)], [position, position], color="#000000", alpha=0.45,
                  linewidth=1.2, solid_capstyle="butt")
        axes.annotate(duration(middle), (max(max(series), middle), position),
                      xytext=(4, 0), textcoords="offset points", va="center", fontsize=8.5)
    axes.set_yticks(list(positions))
    axes.set_yticklabels([label for label, _, _ in rows])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(FuncFormatter(duration))
    axes.grid(axis="y", visible=False)
    axes.set_title(title, loc="left", fontsize=10.5)
    axes.set_xlim(0.1, 20 * max(max(series) for _, _, series in rows))  # room for the figures


def reads(figures, directory):
    cases = [
        ("no_commits/threads:1", "one reader"),
        ("no_commits/threads:2", "two readers"),
        ("commit_each_ms/threads:2", "two readers, a commit each millisecond"),
        ("commits_without_pause/threads:1", "one reader, commits without pause"),
    ]
    figure, grid = plot.subplots(2, 2, figsize=(11, 7.6))
    for axes, (case, title) in zip(grid.flat, cases):
        rows = []
        for name, label, colour in READERS:
            series = figures.series(f"read/{name}/{case}", "reader_time")
            if series:
                rows.append((label, colour, series))
        if not rows:
            return
        bars(axes, rows, title)
    figure.suptitle("Acquire a consistent version, read one element, let go: time that a reader "
                    "waits", x=0.01, ha="left", fontsize=12)
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    save(figure, directory, "reads")


def commits(figures, directory):
    candidates = [
        ("floor", "in place, no versions (floor)", LIMIT, "--"),
        ("cowindex", "CowIndex", OURS, "-"),
        ("cowindex_reader", "CowIndex, a reader registered", OURS_LIGHT, "-"),
        ("vector", "copy a vector of shared_ptr", PEERS[2], "-"),
        ("deep_clone", "copy all shards", PEERS[0], "-"),
    ]
    figure, axes = plot.subplots(figsize=(8, 4.8))
    for name, label, colour, style in candidates:
        sizes, middle, least, most = [], [], [], []
        for size in (10**power for power in range(2, 8)):
            series = figures.series(f"commit/{name}/bytes:64/n:{size}/k:1")
            if series:
                sizes.append(size)
                middle.append(sorted(series)[len(series) // 2])
                least.append(min(series))
                most.append(max(series))
        if sizes:
            axes.fill_between(sizes, least, most, color=colour, alpha=0.18, linewidth=0)
            axes.plot(sizes, middle, style, color=colour, label=label, marker="o", markersize=3.5)
    if not axes.lines:
        plot.close(figure)
        return
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(count))
    axes.yaxis.set_major_formatter(FuncFormatter(duration))
    axes.set_xlabel("shards in the index, 64 bytes each")
    axes.set_title("A commit that changes one shard, publishing and reclaiming included",
                   loc="left", fontsize=12)
    axes.legend(loc="upper left", fontsize=9)
    save(figure, directory, "commits")


def tails(figures, directory):
    panels = [
        ("tail/small", "read", "reads, one shard of 64 changed without pause"),
        ("tail/strings", "read", "reads of 100 000 strings, all replaced each millisecond"),
        ("tail/small", "commit", "those commits: one shard of 64"),
        ("tail/strings", "commit", "those commits: 100 000 strings"),
    ]
    percentiles = [("p50", "median"), ("p99", "99 %"), ("p99.9", "99.9 %"), ("max", "worst")]
    figure, grid = plot.subplots(2, 2, figsize=(11, 7.6))
    drawn = False
    for axes, (family, what, title) in zip(grid.flat, panels):
        for name, label, colour in READERS:
            values, least, most = [], [], []
            for key, _ in percentiles:
                series = [max(value, 1.0) for value in
                          figures.series(f"{family}/{name}", f"{what}_{key}")]
                if not series:
                    break
                values.append(sorted(series)[len(series) // 2])
                least.append(min(series))
                most.append(max(series))
            if len(values) != len(percentiles):
                continue
            drawn = True
            ours = name.startswith("cowindex_pin")
            axes.plot(range(len(values)), values, color=colour, label=label, marker="o",
                      markersize=3, linewidth=2.4 if ours else 1.2, zorder=3 if ours else 2)
            if ours or name == "raw_pointer":
                axes.fill_between(range(len(values)), least, most, color=colour, alpha=0.15,
                                  linewidth=0)
        axes.set_xticks(range(len(percentiles)))
        axes.set_xticklabels([label for _, label in percentiles])
        axes.set_yscale("log")
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(FuncFormatter(duration))
        axes.set_title(title, loc="left", fontsize=10.5)
    if not drawn:
        plot.close(figure)
        return
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncol=4, fontsize=9)
    figure.suptitle("The worst that happens to a reader and to the committer beside it", x=0.01,
                    ha="left", fontsize=12)
    figure.tight_layout(rect=(0, 0.09, 1, 0.98))
    save(figure, directory, "tails")


def main():
    figures = results.Figures(sys.argv[1])
    directory = pathlib.Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    reads(figures, directory)
    commits(figures, directory)
    tails(figures, directory)


if __name__ == "__main__":
    main()
