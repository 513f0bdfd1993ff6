#!/usr/bin/python3
"""Prints all medians, with the least and the greatest of the repetitions, as Markdown.

summary.py <directory of JSON files>
"""

import sys

import results

# What is a figure by itself beside the time; everything else would repeat it.
COUNTERS_ONLY = {
    "read": ["reader_time", "commits_per_s"],
    "first_read": None,
    "tail": None,
    "disjoint": None,
    "hot": None,
    "mixed": None,
    "memory_per_shard": None,
    "pinned_reader_cowindex": None,
    "pinned_reader_vector": None,
}
NOT_COUNTERS = {
    "name", "run_name", "run_type", "repetitions", "repetition_index", "threads", "iterations",
    "real_time", "cpu_time", "time_unit", "family_index", "per_family_instance_index",
    "items_per_second",
}


def number(value):
    if value == 0:
        return "0"
    magnitude = abs(value)
    for limit, divisor, suffix in ((1e9, 1e9, " G"), (1e6, 1e6, " M"), (1e4, 1e3, " k")):
        if magnitude >= limit:
            return f"{value / divisor:.3g}{suffix}"
    return f"{value:.3g}" if magnitude < 1000 else f"{value:.0f}"


def main():
    figures = results.Figures(sys.argv[1])
    for key in ("host_name", "num_cpus", "mhz_per_cpu", "compiler", "libc", "peers",
                "peers left out"):
        if key in figures.context and key != "host_name":
            print(f"- {key}: {figures.context[key]}")
    print("\n| what | figure | median | least | greatest |\n|---|---|---|---|---|")
    for name in figures.names():
        run = figures.values[name][0]
        family = name.split("/")[0]
        if family in COUNTERS_ONLY:
            counters = COUNTERS_ONLY[family] or [key for key in run if key not in NOT_COUNTERS]
        else:
            counters = ["real_time"]
        for counter in counters:
            series = figures.series(name, counter)
            if not series:
                continue
            label = "ns" if counter in ("real_time", "reader_time") else counter
            print(f"| {name} | {label} | {number(figures.median(name, counter))} "
                  f"| {number(min(series))} | {number(max(series))} |")


if __name__ == "__main__":
    main()
