"""Reads Google Benchmark's JSON: what was repeated, by name."""

import json
import pathlib
import statistics


class Figures:
    """All repetitions of all programs of one directory."""

    def __init__(self, directory):
        self.values = {}
        self.context = {}
        files = sorted(pathlib.Path(directory).glob("*.json"))
        if not files:
            raise SystemExit(f"no *.json in {directory}: benchmarks/run.sh makes them")
        for file in files:
            with open(file, encoding="utf-8") as stream:
                content = json.load(stream)
            self.context = content["context"]
            for run in content["benchmarks"]:
                if run["run_type"] == "iteration":
                    name = strip(run["run_name"])
                    self.values.setdefault(name, []).append(run)

    def series(self, name, counter="real_time"):
        """The repetitions of one figure; times in nanoseconds. Empty if it was not measured."""
        found = []
        for run in self.values.get(name, []):
            if counter not in run:
                return []
            scale = 1.0
            if counter in ("real_time", "cpu_time"):
                scale = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}[run["time_unit"]]
            elif counter == "reader_time":
                scale = 1e9
            found.append(run[counter] * scale)
        return found

    def median(self, name, counter="real_time"):
        series = self.series(name, counter)
        return statistics.median(series) if series else None

    def names(self):
        return list(self.values)


def strip(name):
    """Without what says only how it was measured."""
    parts = [
        part
        for part in name.split("/")
        if part not in ("real_time", "manual_time")
        and not part.startswith(("iterations:", "min_time:"))
    ]
    return "/".join(parts)
