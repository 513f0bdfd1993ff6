#!/usr/bin/env python3
"""Mutation testing of include/: changes one thing at a time and asks whether the tests notice.

    run.py <work directory> [--sample N] [--seed S] [--headers PART,...]
           [--timeout SECONDS] [--jobs N]

Operators: compare (== != < <= > >= swapped, with the neighbour and with the opposite), drop (a statement
left out), order (an order of memory weakened), step (+ 1 and - 1 left out), logic (&& and ||).

For each mutant the header is changed in a copy; the unit test of that header and the fuzz histories
are compiled against it and run. A mutant that does not compile is not counted. Orders are invisible to
tests on x86-64: they are left to tests/model, unless --orders is given. Prints each survivor and the
score, and leaves both in <work directory>/survivors.txt.
"""

import argparse
import concurrent.futures
import pathlib
import queue
import random
import re
import resource
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLAGS = "-std=c++20 -O0 -pthread -w".split()

COMPARE = {" == ": [" != "], " != ": [" == "], " < ": [" <= ", " >= "], " <= ": [" < ", " > "],
           " > ": [" >= ", " <= "], " >= ": [" > ", " < "]}
LOGIC = {" && ": [" || "], " || ": [" && "]}
STEP = {" + 1": [""], " - 1": [""], "++": ["--"], "--": ["++"]}
ORDER = {f"memory_order_{order}": ["memory_order_relaxed"]
         for order in ("acquire", "release", "acq_rel", "seq_cst")}
# A whole statement on a line of its own; what declares or leaves cannot be left out.
STATEMENT = re.compile(r"^ {4,}(?!return|throw|break|continue|using|static_assert|friend|const |auto |"
                       r"static |mutable |explicit |Policy::sync_point|template|typename )"
                       r"[A-Za-z_(*+\-][^;{}]*\)?;(\s*//.*)?$")


def mutants_of(path, orders):
    lines = path.read_text().split("\n")
    tables = [COMPARE, LOGIC, STEP] + ([ORDER] if orders else [])
    for number, line in enumerate(lines):
        code = line.split("//")[0]
        stripped = code.strip()
        if not stripped or stripped.startswith(("#", "template", "namespace", "inline constexpr")):
            continue
        for table in tables:
            for old, news in table.items():
                for found in re.finditer(re.escape(old), code):
                    for new in news:
                        yield number, line, code[:found.start()] + new + code[found.end():]
        # A declaration has two words before its name ends; an effect has none.
        if STATEMENT.match(line) and " = de" not in code and not re.match(r"^\s*[\w:<>,&* ]+ \w+( = .*|\{.*)?;", code):
            yield number, line, ""


def tests_for(header):
    name = pathlib.Path(header).stem + "_test.cpp"
    for folder in ("tests/detail", "tests"):
        if (ROOT / folder / name).exists():
            return [f"{folder}/{name}"]
    detail = {"commit": "core", "reclaim": "core", "lifetime": "core", "version_record": "version_chain",
              "change_list": "write_batch", "reading": "tree_diff", "shared_cell": "publication",
              "commit_lock": "publication", "asymmetric_fence": "publication",
              "dead_list": "garbage"}
    other = detail.get(pathlib.Path(header).stem)
    return [f"tests/detail/{other}_test.cpp"] if other else []


def limited():
    # A mutant may allocate for ever.
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Runner:
    """Compiles and runs in a folder of its own, against a copy of the headers of its own."""

    def __init__(self, work, timeout, common):
        self.work, self.timeout, self.common = work, timeout, common
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        self.include = work / "include"
        shutil.copytree(ROOT / "include", self.include)

    def compile(self, arguments, check=False):
        command = ["g++", *FLAGS, "-I", self.include, "-I", self.common, "-I", ROOT / "tests",
                   *arguments]
        return subprocess.run([str(word) for word in command], check=check,
                              capture_output=True).returncode == 0

    def run(self, *command):
        try:
            return subprocess.run([str(word) for word in command], capture_output=True,
                                  timeout=self.timeout, cwd=self.work,
                                  preexec_fn=limited).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    # None: does not compile. False: noticed. True: survives. The quick ones first.
    def survives(self, header):
        unit, fuzz = self.work / "unit", self.work / "fuzz"
        for source in tests_for(header):
            if not self.compile(["-include", "support/catch.hpp", ROOT / source,
                                 self.common / "main.o", "-o", unit]):
                return None
            if not self.run(unit):
                return False
        if not self.compile([ROOT / "tests/fuzz/replay.cpp", ROOT / "tests/fuzz/index_fuzz.cpp",
                             "-o", fuzz]):
            return None
        return self.run(fuzz, ROOT / "tests/fuzz/corpus") and self.run(fuzz, "--random", "1500")

    def survives_changed(self, header, number, changed):
        target = self.include / header
        original = target.read_text()
        lines = original.split("\n")
        lines[number] = changed
        target.write_text("\n".join(lines))
        try:
            return self.survives(header)
        finally:
            target.write_text(original)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--sample", type=int, help="how many mutants, chosen at random; default all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--headers", default="", help="only headers so named: parts, with commas")
    parser.add_argument("--orders", action="store_true")
    parser.add_argument("--timeout", type=int, default=30)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    work = options.work.resolve()

    mutants = [(path.relative_to(ROOT / "include"), *mutant)
               for path in sorted((ROOT / "include").rglob("*.hpp"))
               if any(path.match(f"*{part}*.hpp") for part in options.headers.split(","))
               for mutant in mutants_of(path, options.orders)]
    total = len(mutants)
    random.Random(options.seed).shuffle(mutants)
    mutants = mutants[:options.sample]
    free = queue.SimpleQueue()
    common = work / "common"
    for number in range(options.jobs):
        free.put(Runner(work / str(number), options.timeout, common))
    runner = free.get()
    # Catch2 is compiled once: its main function, and its header for all that include it.
    header = common / "support/catch.hpp"
    header.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "tests/support/catch.hpp", header)
    runner.compile(["-x", "c++-header", header, "-o", f"{header}.gch"], check=True)
    runner.compile(["-c", ROOT / "tests/support/main.cpp", "-o", common / "main.o"], check=True)
    for header in sorted({mutant[0] for mutant in mutants}):
        if runner.survives(header) is not True:
            sys.exit(f"the tests of {header} fail without a mutant")
    free.put(runner)

    noticed, survivors = 0, []

    def verdict_on(mutant):
        header, number, _, changed = mutant
        runner = free.get()
        try:
            return mutant, runner.survives_changed(header, number, changed)
        finally:
            free.put(runner)

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for (header, number, line, changed), verdict in pool.map(verdict_on, mutants):
            if verdict:
                changed = changed.strip() or "(dropped)"
                survivors.append(f"{header}:{number + 1}: {line.strip()}  ->  {changed}")
                print("survives:", survivors[-1], flush=True)
            noticed += verdict is False
    tried = noticed + len(survivors)
    score = f"{noticed} of {tried} mutants noticed, of {total} possible"
    print(score)
    (work / "survivors.txt").write_text("\n".join([*survivors, score, ""]))


if __name__ == "__main__":
    main()
