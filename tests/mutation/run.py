#!/usr/bin/env python3
"""Mutation testing of include/: changes one thing at a time and asks whether the tests notice.

    run.py <work directory> [--sample N] [--seed S] [--headers PART] [--timeout SECONDS]

Operators: compare (== != < <= > >= swapped, with the neighbour and with the opposite), drop (a statement
left out), order (an order of memory weakened), step (+ 1 and - 1 left out), logic (&& and ||).

For each mutant the header is changed in a copy; the fuzz histories and the unit test of that header
are compiled against it and run. A mutant that does not compile is not counted. Orders are invisible to
tests on x86-64: they are left to tests/model, unless --orders is given. Prints each survivor and the
score, and leaves both in <work directory>/survivors.txt.
"""

import argparse
import pathlib
import random
import re
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
        if STATEMENT.match(line) and not re.match(r"^\s*[\w:<>,&* ]+ \w+( = .*|\{.*)?;", code):
            yield number, line, ""


def tests_for(header):
    name = pathlib.Path(header).stem + "_test.cpp"
    for folder in ("tests/detail", "tests"):
        if (ROOT / folder / name).exists():
            return [f"{folder}/{name}"]
    detail = {"commit": "core", "reclaim": "core", "lifetime": "core", "version_record": "version_chain",
              "change_list": "write_batch", "reading": "tree_diff", "shared_cell": "publication",
              "commit_lock": "publication", "asymmetric_fence": "publication"}
    other = detail.get(pathlib.Path(header).stem)
    return [f"tests/detail/{other}_test.cpp"] if other else []


class Runner:
    def __init__(self, work, timeout):
        self.work, self.timeout = work, timeout
        self.main = work / "main.o"
        if not self.main.exists():
            self.compile(["-c", str(ROOT / "tests/support/main.cpp"), "-o", str(self.main)], check=True)

    def compile(self, arguments, include=None, check=False):
        command = ["g++", *FLAGS, "-I", str(include or ROOT / "include"), "-I", str(ROOT / "tests")]
        return subprocess.run(command + arguments, check=check, capture_output=True).returncode == 0

    def run(self, command):
        try:
            return subprocess.run(command, capture_output=True, timeout=self.timeout,
                                  cwd=self.work).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    # None: does not compile. False: noticed. True: survives.
    def survives(self, include, header):
        fuzz = self.work / "fuzz"
        if not self.compile([str(ROOT / "tests/fuzz/replay.cpp"), str(ROOT / "tests/fuzz/index_fuzz.cpp"),
                             "-o", str(fuzz)], include):
            return None
        if not self.run([str(fuzz), str(ROOT / "tests/fuzz/corpus")]):
            return False
        if not self.run([str(fuzz), "--random", "1500"]):
            return False
        for source in tests_for(header):
            program = self.work / "unit"
            if not self.compile([str(ROOT / source), str(self.main), "-o", str(program)], include):
                return None
            if not self.run([str(program)]):
                return False
        return True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--sample", type=int, help="how many mutants, chosen at random; default all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--headers", default="", help="only headers whose path contains this")
    parser.add_argument("--orders", action="store_true")
    parser.add_argument("--timeout", type=int, default=60)
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    include = work / "include"
    shutil.rmtree(include, ignore_errors=True)
    shutil.copytree(ROOT / "include", include)

    runner = Runner(work, options.timeout)
    if runner.survives(include, "cowindex/detail/core.hpp") is not True:
        sys.exit("the tests fail without a mutant")
    mutants = [(path.relative_to(ROOT / "include"), *mutant)
               for path in sorted((ROOT / "include").rglob("*.hpp"))
               if options.headers in str(path) for mutant in mutants_of(path, options.orders)]
    total = len(mutants)
    random.Random(options.seed).shuffle(mutants)
    noticed, survivors = 0, []
    for header, number, line, changed in mutants[:options.sample]:
        target = include / header
        original = target.read_text()
        lines = original.split("\n")
        lines[number] = changed
        target.write_text("\n".join(lines))
        verdict = runner.survives(include, header)
        target.write_text(original)
        if verdict is None:
            continue
        if verdict:
            survivors.append(f"{header}:{number + 1}: {line.strip()}  ->  {changed.strip() or '(dropped)'}")
            print("survives:", survivors[-1], flush=True)
        else:
            noticed += 1
    tried = noticed + len(survivors)
    score = f"{noticed} of {tried} mutants noticed, of {total} possible"
    print(score)
    (work / "survivors.txt").write_text("\n".join([*survivors, score, ""]))


if __name__ == "__main__":
    main()
