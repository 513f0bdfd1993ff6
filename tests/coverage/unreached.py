#!/usr/bin/env python3
"""What no test has reached, less what unreachable.txt says cannot be.

    unreached.py <include directory> <unreachable.txt> <export>...

Each export is what `llvm-cov export -skip-functions` wrote of one program. A line, or an outcome of
a condition, counts as reached where any instance of a template in any program reaches it. Ends with
1 where anything else is left, and where an entry of unreachable.txt matches nothing: it is out of
date then.
"""
import bisect
import collections
import json
import pathlib
import sys


def counts_of_lines(segments, source):
    """The lines that have code, with how often each was run; nearly as llvm-cov does it.

    Second, the lines that the preprocessor, or a comment, leaves out. Where a function was never
    run, llvm-cov knows them as code that was not reached.
    """
    by_line = collections.defaultdict(list)
    for segment in segments:
        by_line[segment[0]].append(segment[1:])
    counts = {}
    left_out = set()
    wrapped = None  # the last segment that began on a line before
    for line in range(min(by_line, default=0), max(by_line, default=-1) + 1):
        here = by_line.get(line, [])
        first = here[0] if here and not source[line - 1][:here[0][0] - 1].strip() else wrapped
        # Behind a gap a line may begin with what goes on from before.
        begun = [count for column, count, has_count, is_entry, is_gap in here
                 if has_count and not is_gap
                 and (is_entry or not source[line - 1][:column - 1].strip())]
        if first and not first[2] and first[3]:
            left_out.add(line)
        elif begun or (wrapped and wrapped[2]):
            counts[line] = max(begun + ([wrapped[1]] if wrapped and wrapped[2] else []))
        if here:
            wrapped = here[-1]
    return counts, left_out


def count_at(segments, starts, line, column):
    """How often what begins there was run."""
    index = bisect.bisect_right(starts, (line, column)) - 1
    return segments[index][2] if index >= 0 and segments[index][3] else 0


def text_between(lines, first_line, first_column, last_line, last_column):
    if first_line == last_line:
        return lines[first_line - 1][first_column - 1:last_column - 1]
    parts = [lines[first_line - 1][first_column - 1:], *lines[first_line:last_line - 1],
             lines[last_line - 1][:last_column - 1]]
    return " ".join(part.strip() for part in parts)


def entries_of(path):
    """Paragraphs of `key: value` lines; lines that begin with # are comments."""
    entries = []
    for paragraph in path.read_text(encoding="utf-8").split("\n\n"):
        entry = {}
        for line in paragraph.splitlines():
            if line.startswith("#") or not line.strip():
                continue
            if line[0].isspace():
                entry["because"] += " " + line.strip()
                continue
            key, _, value = line.partition(":")
            if key not in ("file", "line", "never", "because") or key in entry:
                sys.exit(f"{path}: what is '{line}'?")
            entry[key] = value.strip()
        if not entry:
            continue
        if not all(entry.get(key) for key in ("file", "line", "because")):
            sys.exit(f"{path}: an entry lacks its file, its line or its reason: {entry}")
        entries.append(entry)
    return entries


def main():
    include = pathlib.Path(sys.argv[1]).resolve()
    listed = pathlib.Path(sys.argv[2])
    lines = collections.defaultdict(dict)  # file -> line -> count
    outcomes = collections.defaultdict(dict)  # file -> (place, True or False) -> count
    left_out = collections.defaultdict(set)
    constants = collections.defaultdict(set)
    sources = {}
    programs = 0
    for export in sys.argv[3:]:
        with open(export, encoding="utf-8") as opened:
            data = json.load(opened)
        programs += 1
        for file in data["data"][0]["files"]:
            name = pathlib.Path(file["filename"]).resolve()
            if include not in name.parents:
                continue
            name = str(name.relative_to(include))
            if name not in sources:
                sources[name] = (include / name).read_text(encoding="utf-8").splitlines()
            counts, out = counts_of_lines(file["segments"], sources[name])
            left_out[name] |= out
            seen = lines[name]
            for line, count in counts.items():
                seen[line] = max(seen.get(line, 0), count)
            seen = outcomes[name]
            starts = [(segment[0], segment[1]) for segment in file["segments"]]
            for branch in file["branches"]:
                place = tuple(branch[:4])
                # Of a condition that the compiler knows, neither outcome is ever counted.
                if branch[4] == branch[5] == 0 and count_at(file["segments"], starts, *place[:2]):
                    constants[name].add(place)
                    continue
                for outcome, count in ((True, branch[4]), (False, branch[5])):
                    seen[place, outcome] = seen.get((place, outcome), 0) + count
    if not lines:
        sys.exit("no export has anything of the headers")

    entries = entries_of(listed)
    used = [0] * len(entries)
    missed = 0
    table = []
    for name in sorted(lines):
        source = sources[name]

        def known(line, never):
            text = source[line - 1].strip()
            found = False
            for i, entry in enumerate(entries):
                if entry["file"] == name and entry["line"] == text and entry.get("never") == never:
                    used[i] += 1
                    found = True
            return found

        left = []
        excused = 0
        for place in constants[name]:
            if not any(outcomes[name].get((place, outcome)) for outcome in (True, False)):
                outcomes[name].pop((place, True), None)
                outcomes[name].pop((place, False), None)
        for line in left_out[name]:
            lines[name].pop(line, None)
        for line, count in sorted(lines[name].items()):
            if count == 0:
                if known(line, None):
                    excused += 1
                else:
                    left.append((line, f"not reached: {source[line - 1].strip()}"))
        for (place, outcome), count in sorted(outcomes[name].items()):
            if count != 0 or lines[name].get(place[0]) == 0:
                continue  # an outcome on a line that is not reached is said once
            condition = text_between(source, *place)
            never = f"{str(outcome).lower()} of {condition}".strip()
            if known(place[0], never):
                excused += 1
            else:
                left.append((place[0], f"never {never}"))
        table.append((name, len(lines[name]), sum(c == 0 for c in lines[name].values()),
                      len(outcomes[name]), sum(c == 0 for c in outcomes[name].values()), excused,
                      len(left)))
        missed += len(left)
        for line, what in sorted(left):
            print(f"{name}:{line}: {what}")

    print(f"{'header':34}{'lines':>7}{'missed':>8}{'outcomes':>10}{'missed':>8}{'listed':>8}{'left':>6}")
    for row in table:
        print(f"{row[0]:34}{row[1]:7}{row[2]:8}{row[3]:10}{row[4]:8}{row[5]:8}{row[6]:6}")
    sums = [sum(column) for column in list(zip(*table))[1:]]
    print(f"{'all of ' + str(programs) + ' programs':34}"
          f"{sums[0]:7}{sums[1]:8}{sums[2]:10}{sums[3]:8}{sums[4]:8}{sums[5]:6}")
    stale = [entry for entry, times in zip(entries, used) if times == 0]
    for entry in stale:
        print(f"{listed.name}: matches nothing that is unreached: {entry['file']}: "
              f"{entry['line']} ({entry.get('never', 'the whole line')})")
    return 1 if missed or stale else 0


sys.exit(main())
