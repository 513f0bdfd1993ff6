#!/usr/bin/env python3
"""Mutation testing of include/: changes one thing at a time and asks whether the tests notice.

    run.py <work directory> [--headers NAME,...] [--operators NAME,...] [--sample N] [--seed S] [--again]
           [--switched] [--count] [--programs REGEX] [--slowest SECONDS] [--orders] [--jobs N]

Operators: compare (== != < <= > >= swapped, with the neighbour and with the opposite), drop (a statement
on a line of its own left out), logic (&& and ||), order (an order of memory weakened), step (+ 1 and - 1
left out), turn (a condition without any of these, also that of `?:`, turned round), truth (true and false),
bound (std::min and std::max).

All mutants are built into one copy of the headers, each behind a switch (switch.hpp), and each test program
is compiled once against that copy; the environment says which mutant is on. A first run of each program,
with none on, says how long it takes and which mutants it comes by. Each mutant then meets the programs
that come by it, the quick ones first, until one fails, or takes five times its time and two seconds.

A mutant that cannot be switched (the compiler computes it, or refuses the switch), or that no program comes
by, is compiled alone, with a few test programs. One that does not compile is not counted.
Orders are invisible to tests on x86-64: they are left to tests/model, unless --orders is given.

equivalent.txt names those that change nothing that could be promised, with the reason: they are not
tried. Prints each survivor and the score of each header, and leaves both in <work directory>/survivors.txt;
--again tries only those that survived the last time. --count only counts.
"""

import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import queue
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FLAGS = "-std=c++20 -O1 -pthread -w".split()

COMPARE = {"==": ["!="], "!=": ["=="], "<": ["<=", ">="], "<=": ["<", ">"],
           ">": [">=", "<="], ">=": [">", "<"]}
COMPARE_CALL = {"==": "equal", "!=": "differs", "<": "less", "<=": "less_equal",
                ">": "greater", ">=": "greater_equal"}
LOGIC = {"&&": "||", "||": "&&"}
# Binary operators and template brackets are told apart by the blanks that the formatter leaves.
OPERATOR = re.compile(r"(?<= )(==|!=|<=|>=|<|>|&&|\|\|)(?= |$)")
STEP = re.compile(r" [+-] 1(?![\w.'])|(?<!operator)(\+\+|--)")
ORDER = re.compile(r"std::memory_order_(acquire|release|acq_rel|seq_cst)")
TRUTH = re.compile(r"(?<![<\w(])(?:true|false)\b|(?<=\()(?<!noexcept\()(?:true|false)\b")
OTHER = {"true": "false", "false": "true", "min": "max", "max": "min"}
BOUND = re.compile(r"std::(min|max)(<[\w:]+>)?\(")
# Where a condition begins, or ends before its `?`.
CONDITION = re.compile(r"\b(?:if|while) (?=\()| (?=\? )")
# A whole statement on a line of its own; what declares or leaves cannot be left out.
STATEMENT = re.compile(r"^ {4,}(?!return|throw|break|continue|using|static_assert|friend|const |auto |"
                       r"static |mutable |explicit |void |enum |alignas|\w+::sync_point|\w+->sync_point|template|typename |else\b)"
                       r"[A-Za-z_(*+\-](?:[^;{}]|\{[^;{}]*\})*;\s*$")
# A declaration has two words before its name ends; an effect has none.
DECLARATION = re.compile(r"^\s*(?=\S)(?!delete |if |for |while )[\w:<>,&* ]+ [&*]*\w+( = .*|[\[({].*)?;")

BINDS = {"||": 1, "&&": 2, "|": 3, "^": 4, "&": 5, "==": 6, "!=": 6, "<": 7, ">": 7, "<=": 7,
         ">=": 7, "<=>": 8, "<<": 9, ">>": 9, "+": 10, "-": 10, "*": 11, "/": 11, "%": 11}
ENDS = {";", ",", "?", ":", "=", "+=", "-=", "|=", "&=", "^=", "*=", "/=", "<<=", ">>=", "return",
        "throw", "case", "requires", "else", "do"}
TOKEN = re.compile(r"[A-Za-z_]\w*|\d[\w.']*|<=>|<<=|>>=|->|<<|::|\+\+|--|[=!<>]=|&&|\|\||[-+*/%&|^]=|\S")


@dataclasses.dataclass(eq=False)
class Mutant:
    id: int
    header: str
    number: int  # of the line, from 0
    line: str
    changed: str
    operator: str
    # The switch: text before `first`, in place of [start, end), behind `last`; null: there is none.
    switch: tuple = None

    def __str__(self):
        return f"{self.header}:{self.number + 1}: {self.line.strip()}  ->  {shown(self.changed)}"


def shown(changed):
    return changed.split("//")[0].strip().removeprefix(";") or "(left out)"


def without_comments(text):
    """The same length: comments and what stands in quotes are blank."""
    def blank(found):
        return re.sub(r"[^\n]", " ", found[0]) if found[0][0] == "/" else \
            found[0][0] + "_" * (len(found[0]) - 2) + found[0][-1]
    return re.sub(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])'", blank, text,
                  flags=re.S)


class Operands:
    """Finds where the two sides of a binary operator begin and end."""

    def __init__(self, text):
        self.tokens = [(found[0], found.start(), found.end()) for found in TOKEN.finditer(text)]
        self.at = {start: index for index, (_, start, _) in enumerate(self.tokens)}
        self.text = text

    def binds(self, index):
        word, start, end = self.tokens[index]
        binary = self.text[start - 1] in " \n" and self.text[end] in " \n"
        return BINDS.get(word, 0) if binary else 0

    # Where the operand ends that lies in this direction of the operator.
    def end(self, index, step):
        opening, closing = ("([{", ")]}") if step > 0 else (")]}", "([{")
        strength, depth = self.binds(index), 0
        index += step
        last = None
        while 0 <= index < len(self.tokens):
            word = self.tokens[index][0]
            if word in opening:
                depth += 1
            elif word in closing:
                if depth == 0:
                    break
                depth -= 1
            elif depth == 0:
                if word in ENDS:
                    break
                binds = self.binds(index)
                if binds and (binds < strength or (step > 0 and binds == strength)):
                    break
            last = index
            index += step
        if last is None:
            return None
        return self.tokens[last][2 if step > 0 else 1]


def mutants_of(header, base, orders):
    original = (ROOT / "include" / header).read_text()
    text = without_comments(original)
    operands = Operands(text)
    mutants = []

    def add(operator, number, line, changed, switch):
        mutants.append(Mutant(base + len(mutants), header, number, line, changed, operator, switch))

    offset, asserting = 0, False
    for number, (line, code) in enumerate(zip(original.split("\n"), text.split("\n"))):
        here, offset = offset, offset + len(line) + 1
        stripped = code.strip()
        # tests/must_not_compile asks for what is asserted.
        if asserting or stripped.startswith("static_assert"):
            asserting = not stripped.endswith(";")
            continue
        if not stripped or stripped.startswith(("#", "template", "namespace", "inline constexpr")):
            continue

        def put(found, new):
            return line[:found.start()] + new + line[found.end():]

        for found in OPERATOR.finditer(code):
            word, start, end = found[0], here + found.start(), here + found.end()
            index = operands.at[start]
            first, last = operands.end(index, -1), operands.end(index, 1)
            known = first is not None and last is not None
            id = base + len(mutants)
            if word in COMPARE:
                switch = known and (first, f"cowindex_mutation::{COMPARE_CALL[word]}({id}, ",
                                    start, end, ",", last, ")")
                for new in COMPARE[word]:
                    add("compare", number, line, put(found, new), switch or None)
            else:
                on, sign = f"cowindex_mutation::on({id})", "!=" if word == "&&" else "=="
                other = on if word == "&&" else "!" + on
                switch = known and (first, "(static_cast<bool>(", start, end,
                                    f") {sign} {on} ? static_cast<bool>(", last, f") : {other})")
                add("logic", number, line, put(found, LOGIC[word]), switch or None)
        for found in STEP.finditer(code):
            start, end = here + found.start(), here + found.end()
            id = base + len(mutants)
            if "1" in found[0]:
                add("step", number, line, put(found, ""),
                    (start, "", start, end, f"{found[0][:3]}cowindex_mutation::one({id})", end, ""))
            else:
                kind, new = ("Up", "--") if found[0] == "++" else ("Down", "++")
                # Behind its operand it binds otherwise.
                switch = None if re.match(r"[\w)\]]", text[start - 1]) else (
                    start, "", start, end, f"cowindex_mutation::{kind}{{{id}}}->*", end, "")
                add("step", number, line, put(found, new), switch)
        for found in CONDITION.finditer(code):
            index = operands.at[here + found.end()]
            if code[found.end()] == "?":
                first, last = operands.end(index, -1), here + found.start()
            else:
                first, last = operands.tokens[index + 1][1], operands.end(index, 1)
                if text[last] != ")":  # it declares something
                    continue
            condition = text[first:last]
            if "\n" in condition or OPERATOR.search(condition) or ORDER.search(code):
                continue
            turned = condition[1:] if condition.startswith("!") else "!" + condition
            add("turn", number, line, line[:first - here] + turned + line[last - here:],
                (first, "(static_cast<bool>(", first, first, "", last,
                 f") != cowindex_mutation::on({base + len(mutants)}))"))
        for found in TRUTH.finditer(code):
            start, end = here + found.start(), here + found.end()
            add("truth", number, line, put(found, OTHER[found[0]]),
                (start, "", start, end, f"({found[0]} != cowindex_mutation::on({base + len(mutants)}))", end, ""))
        for found in BOUND.finditer(code):
            start, end = here + found.start(), here + found.end()
            word, kind = found[1], found[2] or ""
            add("bound", number, line, put(found, f"std::{OTHER[word]}{kind}("),
                (start, "", start, end, f"cowindex_mutation::{word}{kind}({base + len(mutants)}, ", end, ""))
        for found in ORDER.finditer(code) if orders else ():
            start, end = here + found.start(), here + found.end()
            weak = "std::memory_order_relaxed"
            add("order", number, line, put(found, weak),
                (start, "", start, end,
                 f"(cowindex_mutation::on({base + len(mutants)}) ? {weak} : {found[0]})", end, ""))
        if STATEMENT.match(code) and " = de" not in code and not DECLARATION.match(code):
            start, end = here + len(code) - len(code.lstrip()), here + len(code.rstrip())
            # Not the last line of a longer statement.
            if operands.tokens[operands.at[start] - 1][0] in {";", "{", "}", ":", ")", "else"} and \
                    code.count("(") == code.count(")"):
                switch = (start, f"{{ if (!cowindex_mutation::on({base + len(mutants)})) ",
                          start, start, "", end, " }")
                add("drop", number, line, " " * (start - here) + ";", switch)
    return mutants


def switched(header, mutants):
    """The header with a switch for each mutant that has one."""
    text = (ROOT / "include" / header).read_text()
    # At one place: what ends there, the inner first; then what begins there, the outer first.
    edits = set()
    for mutant in mutants:
        if mutant.switch:
            first, prefix, start, end, middle, last, suffix = mutant.switch
            edits.add((first, 1, -last, first, prefix))
            edits.add((start, 2, 0, end, middle))
            edits.add((last, 0, -first, last, suffix))
    result, position = [], 0
    for start, _, _, end, new in sorted(edits):
        if not new:
            continue
        result += [text[position:start], new]
        position = end
    # What a mutant lets return is no [[noreturn]]: the compiler would take the mutant for never on.
    return "".join([*result, text[position:]]).replace("[[noreturn]] ", "")


def limited():
    # A mutant may allocate for ever.
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def runs_well(command, timeout, work, **environment):
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, cwd=work, preexec_fn=limited,
                               start_new_session=True, env={**os.environ, **environment})
    try:
        return process.wait(timeout) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        # Also what it may have forked.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


@dataclasses.dataclass(eq=False)
class Program:
    name: str
    sources: list
    runs: list  # of arguments
    catch: bool = True
    options: tuple = ()

    def command(self, work, include, output):
        parts = ["-include", work / "common/first.hpp", work / "common/main.o"] if self.catch else \
            ["-include", HERE / "switch.hpp"]
        return ["g++", *FLAGS, *self.options, "-I", include, "-I", work / "common", "-I", ROOT / "tests", *parts,
                *(ROOT / "tests" / source for source in self.sources), "-o", output]


def all_programs():
    # Test cases that take most of their program's time: they come last.
    slow = {"core_test": "a commit sorts a bounded part*",
            "fault_injection_test": "after any failure everything is as before*"}
    # What asks for more than one program or a tracer, or for a chance meeting of threads, is left out.
    left_out = {"shared_libraries_test", "cache_line_writes_test", "race_test", "history_test"}
    histories = [[ROOT / "tests/fuzz/corpus"], ["--random", "1500"]]
    sources = ["fuzz/replay.cpp", "fuzz/index_fuzz.cpp"]
    programs = [Program("fuzz", sources, histories, catch=False),
                Program("fuzz_portable", sources, histories, False, ("-DCOWINDEX_PORTABLE_PINS",)),
                Program("scheduler_test", ["concurrency/scheduler_test.cpp"], [["--abort"]])]
    for folder in (".", "detail"):
        for source in sorted((ROOT / "tests" / folder).glob("*_test.cpp")):
            if source.stem not in left_out:
                more = ["support/faults.cpp"] if "support/faults.hpp" in source.read_text() else []
                runs = [["--abort"]]
                if source.stem in slow:
                    runs = [["--abort", f"~{slow[source.stem]}"], ["--abort", slow[source.stem]]]
                programs.append(Program(source.stem, [*more, f"{folder}/{source.name}"], runs))
    programs.append(Program("no_exceptions", ["no_exceptions/main.cpp"], [[]], catch=False,
                            options=("-fno-exceptions",)))
    programs.append(Program("publication_standin_test", ["detail/publication_test.cpp"], [["--abort"]],
                            options=("-DCOWINDEX_SHARED_CELL_STANDIN", "-DCOWINDEX_PORTABLE_PINS")))
    return programs


class Trial:
    """The programs with all mutants in them."""

    def __init__(self, work, mutants, jobs, programs, slowest):
        self.work, self.mutants, self.jobs = work, mutants, jobs
        self.by_header = {}
        for mutant in mutants:
            self.by_header.setdefault(mutant.header, []).append(mutant)
        self.include = work / "include"
        self.programs = {program.name: program for program in all_programs()
                         if re.fullmatch(programs, program.name)}
        for folder in ("common", "programs", "runs"):
            (work / folder).mkdir(parents=True, exist_ok=True)
        self.build_common()
        # Found the last time, so that only what changed is compiled again.
        self.refused_list = work / "refused.txt"
        if self.refused_list.exists():
            refused = set(self.refused_list.read_text().split("\n"))
            for mutant in mutants:
                if str(mutant) in refused:
                    mutant.switch = None
        self.write_headers()
        self.build()
        self.measure(slowest)

    def build_common(self):
        common = self.work / "common"
        if (common / "main.o").exists() and (common / "first.hpp.gch").stat().st_mtime > \
                max(path.stat().st_mtime for path in (HERE / "switch.hpp", ROOT / "tests/support/catch.hpp")):
            return
        (common / "first.hpp").write_text(f'#include "{HERE}/switch.hpp"\n#include <support/catch.hpp>\n'
                                          "#include <atomic>\n#include <memory>\n#include <string>\n"
                                          "#include <thread>\n#include <vector>\n")
        flags = ["g++", *FLAGS, "-I", common, "-I", ROOT / "tests"]
        for arguments in (["-c", ROOT / "tests/support/main.cpp", "-o", common / "main.o"],
                          ["-x", "c++-header", common / "first.hpp", "-o", common / "first.hpp.gch"]):
            subprocess.run([str(word) for word in [*flags, *arguments]], check=True)

    def write_headers(self):
        for path in (ROOT / "include").rglob("*.hpp"):
            header = str(path.relative_to(ROOT / "include"))
            text = switched(header, self.by_header.get(header, []))
            copy = self.include / header
            copy.parent.mkdir(parents=True, exist_ok=True)
            if not copy.exists() or copy.read_text() != text:
                copy.write_text(text)

    def up_to_date(self, program):
        output, depends = (self.work / "programs" / f"{program.name}{end}" for end in ("", ".d"))
        if not output.exists() or not depends.exists():
            return False
        built = output.stat().st_mtime
        files = depends.read_text().replace("\\\n", " ").split(":", 1)[1].split()
        return all(pathlib.Path(file).exists() and pathlib.Path(file).stat().st_mtime < built
                   for file in files if not file.endswith(":"))

    # Returns what the compiler said, or nothing.
    def compile(self, program):
        output = self.work / "programs" / program.name
        depends = output.with_suffix(".d")
        command = program.command(self.work, self.include, output)
        result = subprocess.run([str(word) for word in [*command, "-MMD", "-MF", depends]],
                                capture_output=True, text=True)
        if result.returncode == 0:
            # With more than one source the last one's files are listed, with none of the others'.
            with depends.open("a") as file:
                file.write(" ".join(f"{ROOT / 'tests' / source}" for source in program.sources))
            return ""
        output.unlink(missing_ok=True)
        return result.stderr

    # Takes out the switches that the compiler complains of. Of each program it is the first error
    # that counts: most others follow from it.
    def refuse(self, outputs):
        by_line = {}
        for mutant in self.mutants:
            if mutant.switch:
                text = (ROOT / "include" / mutant.header).read_text()
                for number in range(text.count("\n", 0, mutant.switch[0]),
                                    text.count("\n", 0, mutant.switch[5]) + 1):
                    by_line.setdefault((mutant.header, number), []).append(mutant)
        count = 0
        place = re.compile(re.escape(str(self.include)) + r"/(\S+?):(\d+):")
        for output in outputs:
            lines = output.split("\n")
            first = next((number for number, line in enumerate(lines) if "error:" in line), len(lines))
            # Who only instantiates what is wrong is to blame where nobody else is.
            for blamed in (lines[first:first + 1], lines[:first], lines):
                mutants = [mutant for header, line in place.findall("\n".join(blamed))
                           for mutant in by_line.get((header, int(line) - 1), []) if mutant.switch]
                for mutant in mutants:
                    count += mutant.switch is not None
                    mutant.switch = None
                if mutants:
                    break
        self.refused_list.write_text("\n".join(str(mutant) for mutant in self.mutants
                                               if mutant.switch is None))
        return count

    def build(self):
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            # The first shows most of what the compiler refuses.
            names = list(self.programs)[:1]
            while True:
                tasks = [self.programs[name] for name in names
                        if not self.up_to_date(self.programs[name])]
                outputs = [output for output in pool.map(self.compile, tasks) if output]
                if not outputs:
                    if len(names) == len(self.programs):
                        return
                    names = list(self.programs)
                    continue
                refused = self.refuse(outputs)
                print(f"{refused} mutants cannot be switched", flush=True)
                if refused == 0:
                    sys.exit(outputs[0][:8000])
                # Those that are built keep the switches: their numbers do not change.
                kept = {name: os.stat(self.work / "programs" / name) for name in names
                        if (self.work / "programs" / name).exists()}
                self.write_headers()
                for name in kept:
                    os.utime(self.work / "programs" / name)

    # Runs all with no mutant on.
    def measure(self, slowest):
        self.runs = []  # (seconds, name, command, the mutants that it comes by)
        tasks = [(program, arguments) for program in self.programs.values() for arguments in program.runs]

        def measure_one(index):
            program, arguments = tasks[index]
            command = [self.work / "programs" / program.name, *arguments]
            reached = self.work / f"reached{index}"
            reached.unlink(missing_ok=True)
            if not runs_well(command, 600, self.work / "runs", COWINDEX_REACHED=str(reached),
                             COWINDEX_SCHEDULES="50"):
                sys.exit(f"{program.name} fails without a mutant")
            begin = time.monotonic()
            runs_well(command, 600, self.work / "runs", COWINDEX_SCHEDULES="50")
            return (time.monotonic() - begin, program.name, command,
                    {int(line) for line in reached.read_text().split()})
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            self.runs = sorted(pool.map(measure_one, range(len(tasks))), key=lambda run: run[0])
        self.runs = [run for run in self.runs if slowest is None or run[0] <= slowest]
        for seconds, name, _, reached in self.runs:
            print(f"{seconds:7.2f} s  {name}: {len(reached)} mutants reached", flush=True)

    # The names of the programs for a mutant that is compiled alone.
    def programs_for(self, header):
        ids = {mutant.id for mutant in self.by_header[header]}
        include = f"#include <{header}>"
        names = [name for name, program in self.programs.items()
                 if any(include in (ROOT / "tests" / source).read_text() for source in program.sources)]
        for _, name, _, reached in sorted(self.runs, key=lambda run: (-len(run[3] & ids), run[0])):
            if name not in names and len(names) < 5:
                names.append(name)
        return names

    # The verdict: none if it does not compile, else whether it survives, and what noticed it.
    def try_alone(self, mutant, place):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(ROOT / "include", place / "include")
        target = place / "include" / mutant.header
        lines = target.read_text().split("\n")
        lines[mutant.number] = mutant.changed
        target.write_text("\n".join(lines))
        for name in self.programs_for(mutant.header):
            command = self.programs[name].command(self.work, place / "include", place / name)
            if subprocess.run([str(word) for word in command], capture_output=True).returncode != 0:
                return None, None
            for seconds, other, arguments, _ in self.runs:
                if other == name and not runs_well([place / name, *arguments[1:]], 5 * seconds + 2, place,
                                                   COWINDEX_SCHEDULES="50"):
                    return False, name
        return True, None

    def runs_for(self, mutant):
        return [run for run in self.runs if mutant.switch and mutant.id in run[3]]

    def verdict_on(self, mutant, place):
        runs = self.runs_for(mutant)
        for seconds, name, command, _ in runs:
            if not runs_well(command, 5 * seconds + 2, self.work / "runs", COWINDEX_MUTANT=str(mutant.id),
                             COWINDEX_SCHEDULES="50"):
                return False, name
        return (True, None) if runs else self.try_alone(mutant, place)


def equivalents():
    """{(header, line, changed)}: blocks of `header: reason`, `- line` and `+ changed`.

    Where a header has several such lines, all are meant, or with `header#2` the second.
    """
    result = set()
    for block in re.split(r"\n\s*\n", (HERE / "equivalent.txt").read_text()):
        lines = [line for line in block.strip().split("\n") if line and not line.startswith("#")]
        if not lines:
            continue
        header, old = lines[0].split(":")[0], None
        for line in lines[1:]:
            if line.startswith("- "):
                old = line[2:].strip()
            elif line.startswith("+ "):
                result.add((header, old, line[2:].strip()))
            else:
                sys.exit(f"equivalent.txt: what is {line!r}?")
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--sample", type=int, help="how many mutants, chosen at random; default all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--headers", default="", help="only headers of these names, with commas")
    parser.add_argument("--operators", default="", help="only those of these names, with commas")
    parser.add_argument("--programs", default=".*", help="only test programs whose names match")
    parser.add_argument("--slowest", type=float, help="leave out runs that take more seconds")
    parser.add_argument("--switched", action="store_true", help="leave those that are compiled alone")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--count", action="store_true")
    parser.add_argument("--orders", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)

    mutants = []
    for index, path in enumerate(sorted((ROOT / "include").rglob("*.hpp"))):
        mutants += mutants_of(str(path.relative_to(ROOT / "include")), 1000 * (index + 1), options.orders)
    keys, numbers = {}, {}
    for mutant in mutants:
        header, line = mutant.header.removeprefix("cowindex/"), mutant.line.split("//")[0].strip()
        same = numbers.setdefault((header, line), [])
        if mutant.number not in same:
            same.append(mutant.number)
        changed = shown(mutant.changed)
        keys[mutant] = {(header, line, changed), (f"{header}#{len(same)}", line, changed)}
    equivalent = equivalents()
    for entry in sorted(equivalent - set().union(*keys.values())):
        print("equivalent.txt: no mutant is", " | ".join(entry))
    names, operators = ([name for name in given.split(",") if name]
                        for given in (options.headers, options.operators))
    wanted = [mutant for mutant in mutants
              if (not names or pathlib.Path(mutant.header).stem in names)
              and (not operators or mutant.operator in operators)]
    total = len(wanted)
    if options.count:
        for header in sorted({mutant.header for mutant in wanted}):
            print(sum(mutant.header == header for mutant in wanted), header)
        print(total, "mutants")
        return
    left_out = [mutant for mutant in wanted if keys[mutant] & equivalent]
    wanted = [mutant for mutant in wanted if not keys[mutant] & equivalent]
    survivors_file = work / "survivors.txt"
    if options.again:
        last = set(survivors_file.read_text().split("\n"))
        wanted = [mutant for mutant in wanted if str(mutant) in last]
    if options.sample:
        wanted = random.Random(options.seed).sample(wanted, min(options.sample, len(wanted)))

    trial = Trial(work, mutants, options.jobs, options.programs, options.slowest)
    alone = [mutant for mutant in wanted if not trial.runs_for(mutant)]
    if options.switched:
        for mutant in alone:
            print("not tried:", mutant)
        wanted = [mutant for mutant in wanted if mutant not in alone]
    else:
        wanted.sort(key=lambda mutant: mutant in alone)
    places = queue.SimpleQueue()
    for number in range(options.jobs):
        places.put(work / f"alone{number}")

    def verdict_on(mutant):
        place = places.get()
        try:
            return mutant, trial.verdict_on(mutant, place)
        finally:
            places.put(place)

    scores, survivors = {}, []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool, \
            (work / "noticed.txt").open("w") as log:
        for mutant, (survives, name) in pool.map(verdict_on, wanted):
            score = scores.setdefault(mutant.header, [0, 0, 0])
            score[0] += survives is False
            score[1] += survives is not None
            log.write(f"{name if survives is not None else 'does not compile'}: {mutant}\n")
            if survives:
                survivors.append(str(mutant))
                print("survives:", survivors[-1], flush=True)
    for mutant in left_out:
        scores.setdefault(mutant.header, [0, 0, 0])[2] += 1
    report = [f"{header}: {noticed} of {tried} noticed, {same} equivalent"
              for header, (noticed, tried, same) in sorted(scores.items())]
    noticed, tried, same = (sum(score[part] for score in scores.values()) for part in range(3))
    report.append(f"{noticed} of {tried} mutants noticed, {same} equivalent, of {total} written")
    print("\n".join(report))
    survivors_file.write_text("\n".join([*survivors, *report, ""]))


if __name__ == "__main__":
    main()
