"""Random and mutated specs through `rbcc compile`: never a traceback, a hang or memory without bound.

    nice -n 19 python3 experiments/fuzz.py --inputs 100000 --seed 1 --failures failures
    python3 experiments/fuzz.py --inputs 100 --seed 2 --show     # prints what was changed and the first message

Every input goes through the command's own entry in a process that is limited to 2 s of processor time for it and 1 GiB
of address space in all; after a failure it is replaced by a fresh one. Right answers are: a compiled model, whose
module is valid Python without undefined names and whose IR survives JSON; or messages with codes, on stderr, and exit
status 1. The formatter then brings the spec into its layout, which changes neither it again nor the model; of models
that compile, the report of `rbcc check --fast` and the pages of `rbcc doc` are made too. All within the same limits.
Failing inputs are made smaller and written into a folder each. The exit status is 1 if there are any.
"""

import argparse
import ast
import builtins
import contextlib
import difflib
import io
import json
import multiprocessing
import os
import re
import resource
import signal
import symtable
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

from fuzz_inputs import SPECS, Case, case, corpus


SECONDS = 2.0  # of processor time for one input
MEMORY = 2**30  # bytes of address space for the whole process
PATIENCE = 60.0  # seconds of waiting for a process that does not even answer the alarm


@dataclass(frozen=True)
class Outcome:
    """What became of an input: `result` is "compiled", the code of the first error, or a failure."""

    result: str
    failed: bool = False
    details: str = ""
    seconds: float = 0.0
    memory: float = 0.0  # MiB, the most that the process has used so far


class Overtime(BaseException):
    """The alarm; no `except Exception` holds it up."""


# --- in the worker -------------------------------------------------------------------------------------------------


def work(connection: Connection) -> None:
    """Runs the cases that come over `connection` until there are no more, or one fails."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("error")

    def ring(*_: object) -> None:
        raise Overtime

    signal.signal(signal.SIGPROF, ring)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "bad")
        place.mkdir()
        os.chdir(place)
        for name, text in corpus().items():
            if Path(name).parent == SPECS:  # what specs in its folders extend
                Path(folder, Path(name).name).write_text(text, encoding="utf-8")
        with contextlib.suppress(EOFError):
            while True:
                outcome = run(connection.recv())
                connection.send(outcome)
                if outcome.failed:
                    return


def run(case: Case) -> Outcome:
    """Compiles a case in the current folder."""
    for file in Path().iterdir():
        file.unlink()
    for name, data in case.files.items():
        Path(name).write_bytes(data)
    outcome = timed(compiled, case)
    for further in (described, formatted) if outcome.result == "compiled" else (formatted,):
        if not outcome.failed:
            other = timed(further, case)
            outcome = other if other.failed else replace(outcome, seconds=max(outcome.seconds, other.seconds))
    return replace(outcome, memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def timed(stage: Callable[[Case], Outcome], case: Case) -> Outcome:
    """What becomes of a case in one stage, with the time it took; whatever goes wrong is an outcome."""
    begin = time.process_time()
    try:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        outcome = stage(case)
    except Overtime:
        outcome = Outcome(f"more than {SECONDS:g} s {_innermost()}", True, traceback.format_exc())
    except MemoryError:
        outcome = Outcome(f"more than {MEMORY / 2**20:.0f} MiB {_innermost()}", True, traceback.format_exc())
    except BaseException as error:
        outcome = Outcome(f"{type(error).__name__} {_innermost()}", True, traceback.format_exc())
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return replace(outcome, seconds=time.process_time() - begin)


def _innermost() -> str:
    """Where in rbcc the exception that is being handled was raised; of a deep recursion the place that comes most."""
    frames = traceback.extract_tb(sys.exc_info()[2])
    ours = [
        f"in {Path(f.filename).name}, {f.name}"
        for f in frames
        if "experiments" not in f.filename and "site-packages" not in f.filename
    ]
    most = Counter(ours).most_common(1)
    return (most[0][0] if most and most[0][1] > 50 else ours[-1]) if ours else ""


def compiled(case: Case) -> Outcome:
    """Runs the command and judges what it did."""
    from rbcc import cli

    out, err = io.BytesIO(), io.BytesIO()
    texts = (io.TextIOWrapper(out, "utf-8"), io.TextIOWrapper(err, "utf-8", errors="backslashreplace"))
    sets = [part for pair in case.sets for part in ("--set", pair)]
    sys.argv = ["rbcc", "compile", "model.yaml", "--out", "module.py", *sets]
    status: object = 0
    with contextlib.redirect_stdout(texts[0]), contextlib.redirect_stderr(texts[1]):
        try:
            cli.main()
        except SystemExit as leaving:
            status = leaving.code
    for text in texts:
        text.flush()
    shown, said = out.getvalue().decode(), err.getvalue().decode()
    if status in (0, None):
        return right(case, shown)
    codes = re.findall(r"(?:^|: )error\[(RB\d+)\]", said, re.MULTILINE)
    if status == 1 and codes and not shown and "Traceback" not in said:
        return Outcome(codes[0], details=said)
    if status == 2 and said.startswith("Usage: ") and case.sets:
        return Outcome("usage", details=said)
    return Outcome(f"exit status {status} without a coded message", True, shown + said)


def right(case: Case, shown: str) -> Outcome:
    """Judges what came out of a spec without errors."""
    from rbcc.cli import _overrides
    from rbcc.compiler.driver import compile_spec
    from rbcc.compiler.ir import from_json, to_json

    text = Path("module.py").read_text(encoding="utf-8")
    if unknown := undefined(text):
        return Outcome(f"undefined names in the module: {', '.join(unknown)}", True, text)
    model = compile_spec("model.yaml", _overrides(list(case.sets))).model
    if from_json(json.loads(json.dumps(to_json(model)))) != model:
        return Outcome("the IR does not survive JSON", True)
    model.text()
    return Outcome("compiled", details=shown)


def described(case: Case) -> Outcome:
    """Says of a right spec all that can be said without running it."""
    from rbcc.cli import _overrides
    from rbcc.compiler.tools.check_report import report_on
    from rbcc.compiler.tools.doc import FORMS, document

    report = report_on("model.yaml", _overrides(list(case.sets)))
    json.dumps(report.as_data())
    report.text()
    assert report.compiled is not None
    for form in FORMS:
        document(report.compiled, form)
    return Outcome("compiled")


def formatted(_: Case) -> Outcome:
    """Formats a spec, right or wrong, as often as it takes to change nothing, and compiles it again if it is right."""
    from rbcc.compiler.diagnostics import CompileError, Diagnostics
    from rbcc.compiler.driver import compile_spec
    from rbcc.compiler.source import read_file
    from rbcc.compiler.tools.diff import difference
    from rbcc.compiler.tools.formatter import format_text

    source = read_file(Path("model.yaml"), None, Diagnostics())
    if source is None:
        return Outcome("no text")
    try:
        text = format_text(source.text)
    except CompileError:
        return Outcome("no spec")
    if format_text(text) != text:
        return Outcome("the layout changes again when it is made a second time", True, text)
    try:
        before = compile_spec("model.yaml").model
    except CompileError:
        return Outcome("wrong")
    Path("formatted.yaml").write_text(text, encoding="utf-8")
    if changes := difference(before, compile_spec("formatted.yaml").model):
        return Outcome("the layout changes the model", True, f"{changes}\n{text}")
    return Outcome("formatted")


def undefined(text: str) -> list[str]:
    """The global names that a module's functions read and nothing defines. Raises SyntaxError if it is not Python."""
    compile(text, "module.py", "exec")
    tree = ast.parse(text)
    known = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)} | set(dir(builtins))
    known |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    known |= {"jax", "jnp"}
    tables = [symtable.symtable(text, "module.py", "exec")]
    read: set[str] = set()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        read |= {s.get_name() for s in table.get_symbols() if s.is_referenced() and s.is_global()}
    return sorted(read - known)


# --- in the parent -------------------------------------------------------------------------------------------------


class Workers:
    """One worker at a time, replaced when it has failed."""

    def __init__(self) -> None:
        self.context = multiprocessing.get_context("spawn")
        self.process: multiprocessing.process.BaseProcess | None = None
        self.started = 0

    def run(self, case: Case) -> Outcome:
        if self.process is None:
            self.connection, theirs = self.context.Pipe()
            self.process = self.context.Process(target=work, args=(theirs,), daemon=True)
            self.process.start()
            self.started += 1
            theirs.close()
        try:
            self.connection.send(case)
            outcome = self.connection.recv() if self.connection.poll(PATIENCE) else Outcome("no answer", True)
        except (EOFError, ConnectionError):
            self.process.join()
            outcome = Outcome(f"the process died ({self.process.exitcode})", True)
        if outcome.failed:
            self.stop()
        return outcome

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.connection.close()
            self.process = None


def smaller(case: Case, result: str, workers: Workers, seconds: float = 60) -> Case:
    """A smaller case that fails in the same way: files, overrides, lines, then characters left out while it does."""
    end = time.monotonic() + seconds

    def same(candidate: Case) -> bool:
        return time.monotonic() < end and workers.run(candidate).result == result

    for name in [name for name in case.files if name != "model.yaml"]:
        fewer = replace(case, files={n: d for n, d in case.files.items() if n != name})
        case = fewer if same(fewer) else case
    for pair in case.sets:
        fewer = replace(case, sets=tuple(p for p in case.sets if p != pair))
        case = fewer if same(fewer) else case
    for name in case.files:
        for parts_of in (lambda data: data.splitlines(keepends=True), lambda data: [bytes([byte]) for byte in data]):
            case = _fewer_parts(case, name, parts_of, same)
    return case


def _fewer_parts(case: Case, name: str, parts_of: Callable[[bytes], list[bytes]], same: Callable[[Case], bool]) -> Case:
    """Leaves out ever smaller runs of the parts of a file."""
    parts = parts_of(case.files[name])
    size = len(parts) // 2
    while size:
        at = 0
        while at < len(parts):
            rest = parts[:at] + parts[at + size :]
            fewer = replace(case, files={**case.files, name: b"".join(rest)})
            if same(fewer):
                case, parts = fewer, rest
            else:
                at += size
        size //= 2
    return case


def save(case: Case, outcome: Outcome, folder: Path) -> None:
    """Writes a failing case, what became of it, and how to repeat it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in case.files.items():
        (folder / name).write_bytes(data)
    sets = " ".join(f"--set {pair!r}" for pair in case.sets)
    report = f"rbcc compile model.yaml {sets}\n{case.kind} of {case.base}\n{outcome.result}\n\n{outcome.details}\n"
    (folder / "report.txt").write_text(report, encoding="utf-8", errors="backslashreplace")


def changes(case: Case) -> Iterator[str]:
    """The lines of the base that a case changed, and its overrides."""
    for name, data in case.files.items():
        text = data.decode("utf-8", "replace")
        before = corpus().get(case.base, "") if name == "model.yaml" and case.kind != "extends" else ""
        differences = list(difflib.unified_diff(before.splitlines(), text.splitlines(), lineterm="", n=0))[2:]
        yield from (f"  {name} {line[:160]!r}" for line in differences[:8] if not line.startswith("@@"))
    yield from (f"  --set {pair[:160]!r}" for pair in case.sets)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--minutes", type=float, help="stop after so long, however many inputs are left")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", action="store_true", help="print every input's changes and first message")
    parser.add_argument("--failures", type=Path, help="folder for failing inputs")
    options = parser.parse_args()
    workers, begin = Workers(), time.monotonic()
    results: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    slowest: list[tuple[float, int, str]] = []
    cost, peak = 0.0, (0.0, 0)
    done = 0
    while done < options.inputs and not (options.minutes and time.monotonic() - begin > 60 * options.minutes):
        number = options.first + done
        done += 1
        this = case(options.seed, number)
        outcome = workers.run(this)
        results[outcome.result] += 1
        kinds[this.kind] += 1
        cost += outcome.seconds
        slowest = sorted([*slowest, (outcome.seconds, number, this.kind)], reverse=True)[:5]
        peak = max(peak, (outcome.memory, number))
        if options.show:
            first = outcome.details.split("\n\n")[0] if not outcome.failed else ""
            print("\n".join([f"{number}: {this.kind}: {outcome.result}", *changes(this), first, ""]))
        if outcome.failed:
            print(f"{number}: {this.kind} of {Path(this.base).name}: {outcome.result}", flush=True)
            failures[outcome.result] += 1
            if options.failures and failures[outcome.result] == 1:
                save(smaller(this, outcome.result, workers), outcome, options.failures / str(number))
    workers.stop()
    print(f"{done} inputs, seed {options.seed}: {failures.total()} failures; {workers.started} processes")
    print(f"{cost:.0f} s of processor time in the command, {time.monotonic() - begin:.0f} s in all")
    print("slowest: " + ", ".join(f"{seconds:.2f} s ({kind}, {number})" for seconds, number, kind in slowest))
    print(f"most memory: {peak[0]:.0f} MiB, first reached at {peak[1]}")
    print("inputs: " + ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()))
    print("outcomes: " + ", ".join(f"{result} {count}" for result, count in results.most_common()))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
