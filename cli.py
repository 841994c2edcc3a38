"""The command line: one function a command, no logic of its own.

Commands that only read specs (compile to IR or JSON, errors, summaries) never import JAX.
"""

import atexit
import gc
import json
import re
import signal
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rbcc.compiler.diagnostics import CompileError, render_text
from rbcc.compiler.util.text import printable
from rbcc.editor import EditorError
from rbcc.runtime.errors import RunError


app = typer.Typer(
    name="rbcc",
    help="A compiler and a runtime for economies.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

INTERRUPTED = 130
"""The exit code after Ctrl-C, by convention."""

Spec = Annotated[
    str, typer.Argument(help="a spec file, or the name of a model that ships with rbcc", show_default=False)
]
Folder = Annotated[Path, typer.Argument(help="a run directory", show_default=False)]
Set = Annotated[
    list[str],
    typer.Option("--set", metavar="PATH=VALUE", help="override a value of the spec, such as parameters.eta=0.2"),
]
SetVerify = Annotated[
    list[str],
    typer.Option("--set", metavar="PATH=VALUE", help="change how it is verified, such as verify.iterations=1000"),
]
Seed = Annotated[int, typer.Option(help="seed of all randomness", min=0, max=2**31 - 1)]
Table = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", help="also write the table here: .csv, .tex, .dta, .parquet or .xlsx", show_default=False
    ),
]


Digits = Annotated[int, typer.Option(help="digits of the numbers that are printed", min=1, max=17)]
Devices = Annotated[
    str,
    typer.Option(
        help="devices that share the economies: a number, or all (cores are devices where there is no GPU)",
        metavar="all|N",
    ),
]


class Emit(StrEnum):
    PYTHON = "python"
    IR = "ir"
    JSON = "json"
    LATEX = "latex"
    JAXPR = "jaxpr"
    HLO = "hlo"


@app.command("compile")
def compile_command(
    spec: Spec,
    set_: Set = [],  # noqa: B006
    emit: Annotated[Emit | None, typer.Option(help="print a stage of the compiler instead of the summary")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="where to write the generated module, or what --emit prints")
    ] = None,
) -> None:
    """Check a spec, compile it, and print a summary of the model."""
    from rbcc.compiler.driver import compile_spec
    from rbcc.compiler.tools.summary import summary, write_module

    compiled = compile_spec(spec, _overrides(set_))
    if compiled.warnings:
        typer.echo(render_text(compiled.warnings) + "\n", err=True)
    if emit is None:
        _say(summary(compiled, write_module(compiled, out)))
    elif emit is Emit.IR:
        _show(compiled.model.text(), out)
    elif emit is Emit.JSON:
        from rbcc.compiler.ir import to_json

        _show(json.dumps(to_json(compiled.model), ensure_ascii=False) + "\n", out)
    elif emit is Emit.PYTHON:
        _show(compiled.python(), out)
    elif emit is Emit.LATEX:
        from rbcc.compiler.tools.doc import document

        _show(document(compiled, ".tex"), out)
    else:
        from rbcc.runtime.economy.lowered import lowered

        _show(lowered(compiled, emit.value) + "\n", out)


@app.command()
def check(
    spec: Spec,
    set_: Set = [],  # noqa: B006
    fast: Annotated[bool, typer.Option("--fast", help="only what needs no run of the model")] = False,
    json_: Annotated[bool, typer.Option("--json", help="findings and results as JSON")] = False,
    seed: Seed = 0,
) -> None:
    """Find mistakes in a spec, prove its accounts, and test what must hold in many random cases."""
    from rbcc.compiler.tools.check_report import report_on

    found = report_on(spec, _overrides(set_))
    if not json_ and found.diagnostics:
        typer.echo(render_text(found.diagnostics), err=True)
    if not json_ and found.compiled:
        _say(found.text())
    audit = None
    if found.compiled and not fast:
        from rbcc.runtime.economy.model import Model
        from rbcc.runtime.parallel.devices import configure
        from rbcc.runtime.validation.property_testing import try_out

        configure()
        try:
            audit = try_out(Model(found.compiled), seed)
        except CompileError as error:  # in a function of the spec's own
            if not json_:
                raise
            found = replace(found, diagnostics=(*found.diagnostics, *error.diagnostics), compiled=None)
        if audit and not json_:
            _say(audit.text())
    if json_:
        results = {"tests": audit.as_data() if audit else None}
        typer.echo(json.dumps(found.as_data() | results, indent=2, ensure_ascii=False))
    if not found.compiled or (audit and audit.failures):
        raise typer.Exit(1)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="name of the model", show_default=False)],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="file to write; default: NAME.yaml")] = None,
) -> None:
    """Write a commented starter model; a file that exists is left as it is."""
    from rbcc.compiler.tools.new_model import write_starter

    path = write_starter(name, out)
    typer.echo(f"{path}\nnext: rbcc compile {path}")


@app.command()
def fmt(
    files: Annotated[list[Path], typer.Argument(help="spec files", show_default=False)],
    check: Annotated[bool, typer.Option("--check", help="change nothing; exit with 1 if a file would change")] = False,
) -> None:
    """Bring specs into the canonical layout: spaces, indentation, quotes; all comments stay."""
    from rbcc.compiler.tools.formatter import format_files

    changed, diagnostics = format_files(files, write=not check)
    for path, other in changed.items():
        done = f"{path} would change" if check else f"formatted {path}"
        typer.echo(done if other else f"{path} is formatted already")
    if diagnostics:
        raise CompileError(diagnostics)
    if check and any(changed.values()):
        raise typer.Exit(1)


@app.command()
def diff(
    before: Annotated[str, typer.Argument(help="a spec, a model that ships, or a run directory", show_default=False)],
    after: Annotated[str, typer.Argument(help="another one", show_default=False)],
    json_: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Tell what differs between two models: exit code 0 if nothing does, 1 if something, 2 if one has errors."""
    from rbcc.compiler.tools.diff import as_json, difference, model_of, show

    try:
        changes = difference(model_of(before), model_of(after))
    except CompileError as error:
        typer.echo(render_text(error.diagnostics), err=True)
        raise typer.Exit(2) from None
    if json_:
        typer.echo(as_json(changes))
    else:
        _say(show(changes))
    raise typer.Exit(1 if changes else 0)


@app.command()
def doc(
    spec: Spec,
    set_: Set = [],  # noqa: B006
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="file to write: .md, .html or .tex; default: print Markdown")
    ] = None,
) -> None:
    """Describe a model: agents, timing, equations, parameters, sources."""
    from rbcc.compiler.driver import compile_spec
    from rbcc.compiler.tools.doc import FORMS, document

    form = out.suffix if out else ".md"
    if form not in FORMS:
        raise typer.BadParameter(f"'{out}' does not end with {', '.join(FORMS)}", param_hint="--out")
    _show(document(compile_spec(spec, _overrides(set_)), form), out)


@app.command()
def schema(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="file to write; default: print")] = None,
) -> None:
    """Print the JSON Schema of specs, with which editors complete keys and show what they mean."""
    from rbcc.compiler.schema.json_schema import schema as make

    _show(json.dumps(make(), indent=1, ensure_ascii=False) + "\n", out)


@app.command()
def train(
    spec: Spec,
    set_: Set = [],  # noqa: B006
    seed: Seed = 0,
    seeds: Annotated[int, typer.Option(help="train so many seeds at once, from --seed on", min=1)] = 1,
    devices: Devices = "all",
    hosts: Annotated[
        str | None,
        typer.Option(
            help="share the work with other hosts: auto under Slurm or Open MPI, or RANK/NUMBER@ADDRESS:PORT on each",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="run directory; default: runs/MODEL")] = None,
    from_: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="begin with the networks of another run, of all types that see and choose the same",
        ),
    ] = None,
    phase: Annotated[
        str | None, typer.Option(help="with --from: the phase to begin with; default: the first", show_default=False)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with a run that was stopped")] = False,
    checked: Annotated[
        bool, typer.Option("--checked", help="test numbers, accounts, identities and invariants in every step")
    ] = False,
) -> None:
    """Train every type of agents in a model; Ctrl-C, SIGTERM and SIGHUP save and stop."""
    number = _devices(devices)
    from rbcc.runtime.parallel.devices import configure
    from rbcc.runtime.reports.console import TrainingDisplay
    from rbcc.runtime.session import interruptible, train_seeds
    from rbcc.runtime.storage.run_directory import LARGEST_SEED

    if seed + seeds - 1 > LARGEST_SEED:
        raise typer.BadParameter(f"the last seed would be above {LARGEST_SEED}, the largest", param_hint="--seeds")
    configure(number, hosts)
    with interruptible(), TrainingDisplay(spec) as display:
        runs = train_seeds(
            spec,
            _overrides(set_),
            seeds=range(seed, seed + seeds),
            devices=number,
            out=out,
            start=from_,
            phase=phase,
            resume=resume,
            checked=checked,
            listener=display.update,
            say=display.say,
        )
    if runs:  # on several hosts one has the results
        _say(display.closing(runs))


@app.command()
def sweep(
    spec: Spec,
    set_: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="PATH=VALUE[,VALUE...]",
            help="override a value of the spec; with several values, such as parameters.eta=0.1,0.2, train at each",
        ),
    ] = [],  # noqa: B006
    seed: Seed = 0,
    seeds: Annotated[int, typer.Option(help="train so many seeds at each point, from --seed on", min=1)] = 1,
    verify: Annotated[bool, typer.Option("--verify", help="then verify each run")] = False,
    devices: Devices = "all",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="folder; default: runs/MODEL-sweep")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with a sweep that was stopped")] = False,
) -> None:
    """Train at all combinations of some values, with several seeds at each, and print the table of all runs."""
    number = _devices(devices)
    from rbcc.compiler.util.text import split_outside_brackets
    from rbcc.runtime.parallel.devices import configure
    from rbcc.runtime.reports.console import TrainingDisplay
    from rbcc.runtime.reports.run_table import table_of
    from rbcc.runtime.reports.tables import table as shown
    from rbcc.runtime.session import interruptible
    from rbcc.runtime.sweep import sweep as run_sweep

    listed = {path: split_outside_brackets(str(value)) for path, value in _overrides(set_).items()}
    values = {path: parts for path, parts in listed.items() if len(parts) > 1}
    overrides = {path: parts[0] for path, parts in listed.items() if len(parts) == 1}
    configure(number)
    with interruptible(), TrainingDisplay(spec) as display:
        found = run_sweep(
            spec,
            values,
            overrides,
            seeds=seeds,
            seed=seed,
            verify=verify,
            devices=number,
            out=out,
            resume=resume,
            listener=display.update,
            say=display.say,
        )
    _show_verdicts(shown(table_of(found.folder)))
    _say(f"\nfolder: {found.folder}; next: rbcc table {found.folder} --out table.tex, rbcc plot {found.folder}")


@app.command()
def verify(
    run: Folder,
    set_: SetVerify = [],  # noqa: B006
    plant: Annotated[
        list[str],
        typer.Option(
            help="change the trained behaviour on purpose: baker.random=20%, seller[0].quantity=30 or baker.hours*50%"
        ),
    ] = [],  # noqa: B006
    seed: Seed = 0,
    devices: Devices = "all",
    details: Annotated[bool, typer.Option("--details", help="print all that is known; the page has it, too")] = False,
) -> None:
    """Estimate how much any agent could gain by deviating, with confidence bounds."""
    number = _devices(devices)
    from rbcc.runtime.parallel.devices import configure
    from rbcc.runtime.reports.console import verification_display
    from rbcc.runtime.reports.html import write_page
    from rbcc.runtime.reports.verification_text import verification_summary, verification_table
    from rbcc.runtime.verification.verify import Unwritten, verify as run_verification

    configure(number)
    try:
        with verification_display() as listener:
            result = run_verification(run, _overrides(set_), plants=plant, seed=seed, devices=number, listener=listener)
    except Unwritten as error:
        _say(verification_table(error.result))
        raise
    page = write_page(run, result)
    _show_verdicts(verification_table(result) if details else verification_summary(result))
    typer.echo(f"\npage: {page}" + ("" if details else "; --details prints all of it"))


@app.command()
def solve(
    spec: Spec,
    set_: Set = [],  # noqa: B006
    target: Annotated[
        str | None,
        typer.Option(help="gain that an agent may have, such as 1%; default: the spec's", show_default=False),
    ] = None,
    minutes: Annotated[float, typer.Option(help="begin no try that does not fit into these")] = 10.0,
    tries: Annotated[int, typer.Option(help="tries at most", min=1)] = 4,
    seed: Seed = 0,
    devices: Devices = "all",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="folder; default: runs/MODEL-solve")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with what was stopped")] = False,
) -> None:
    """Train and verify, from one start after another, until an equilibrium is found; exit code 1 if none is."""
    number = _devices(devices)
    from rbcc.runtime.parallel.devices import configure
    from rbcc.runtime.reports.console import TrainingDisplay
    from rbcc.runtime.solve import Outcome, report, solve as run_solve

    configure(number)
    with TrainingDisplay(spec) as display:
        found = run_solve(
            spec,
            _overrides(set_),
            target=target,
            minutes=minutes,
            tries=tries,
            seed=seed,
            devices=number,
            out=out,
            resume=resume,
            listener=display.update,
            say=display.say,
        )
    _show_verdicts(report(found))
    if found.verdict is not Outcome.SOLVED:
        raise typer.Exit(1)


@app.command()
def simulate(
    run: Folder,
    episodes: Annotated[int, typer.Option(help="episodes to play", min=1)] = 100,
    steps: Annotated[int | None, typer.Option(help="steps of an episode; default: the horizon", min=1)] = None,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="netCDF file; default: RUN/simulation.nc")] = None,
) -> None:
    """Play trained episodes and write all states, choices, values and rewards, with named dimensions, to netCDF."""
    from rbcc.compiler.util.atomic_write import check_writable
    from rbcc.runtime.reports.dataset import simulate as run_simulation, write_simulation

    path = out or run / "simulation.nc"
    if out or run.is_dir():
        check_writable(path)
    data = run_simulation(run, episodes=episodes, steps=steps, seed=seed)
    write_simulation(data, path)
    typer.echo(f"{path}: {len(data.data_vars)} variables, {', '.join(f'{k} {v}' for k, v in data.sizes.items())}")


@app.command()
def moments(
    run: Folder,
    relative_to: Annotated[str | None, typer.Option(help="indicator to compare with; default: the first")] = None,
    hp: Annotated[
        float | None, typer.Option(help="Hodrick-Prescott smoothness, 1600 for quarters", min=1e-6, max=1e9)
    ] = None,
    steps: Annotated[int | None, typer.Option(help="steps that count; default: the horizon", min=1)] = None,
    burn: Annotated[int, typer.Option(help="steps before these", min=0)] = 0,
    paths: Annotated[int, typer.Option(help="paths to play", min=2)] = 100,
    seed: Seed = 0,
    digits: Digits = 4,
    out: Table = None,
) -> None:
    """Print means, deviations, autocorrelations and cross-correlations of a run's indicators, with standard errors."""
    from rbcc.runtime.reports.moments import legend, moments as run_moments
    from rbcc.runtime.reports.tables import check_table, table as shown, write_table

    if out:
        check_table(out)
    found = run_moments(run, relative_to=relative_to, hp=hp, steps=steps, paths=paths, burn=burn, seed=seed)
    _say(f"{legend(found, relative_to, hp)}\n\n{shown(found, digits)}")
    if out:
        write_table(found, out)


@app.command()
def irf(
    run: Folder,
    shock: Annotated[
        str, typer.Option(help="state and what is added to it: productivity=+0.01, +1% of it, or +1sd of its shock")
    ],
    steps: Annotated[
        int | None, typer.Option(help="steps to follow; default: 40, or what an episode has", min=1)
    ] = None,
    burn: Annotated[int, typer.Option(help="steps before the shock", min=0)] = 0,
    paths: Annotated[int, typer.Option(help="pairs of paths to play", min=2)] = 256,
    seed: Seed = 0,
    digits: Digits = 4,
    out: Table = None,
) -> None:
    """Print impulse responses of a run's indicators, from pairs of paths with the same random numbers."""
    from rbcc.runtime.reports.moments import legend_of_responses, responses
    from rbcc.runtime.reports.tables import check_table, table as shown, write_table

    if out:
        check_table(out)
    found = responses(run, shock, steps=steps, paths=paths, burn=burn, seed=seed)
    typer.echo(f"{legend_of_responses(found)}\n\n{shown(found.set_index(['indicator', 'step']), digits)}")
    if out:
        write_table(found, out)


@app.command()
def compare(
    before: Folder,
    after: Folder,
    consumption: Annotated[
        list[str],
        typer.Option(
            metavar="TYPE=VALUE",
            help="the value that is a type's consumption: also tell what share of it makes up for the difference",
        ),
    ] = [],  # noqa: B006
    episodes: Annotated[int, typer.Option(help="episodes to play of each run", min=2)] = 256,
    seed: Seed = 0,
    digits: Digits = 4,
    out: Table = None,
) -> None:
    """Print who is better off in which of two runs, by type and fifth of agents, with standard errors."""
    from rbcc.runtime.reports.tables import check_table, table as shown, write_table
    from rbcc.runtime.reports.welfare import compare as run_comparison, legend_of_comparison

    named: dict[str, str] = {}
    for pair in consumption:
        agent, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"'{pair}' is not TYPE=VALUE", param_hint="--consumption")
        named[agent.strip()] = value.strip()
    if out:
        check_table(out)
    found = run_comparison(before, after, consumption=named, episodes=episodes, seed=seed)
    legend = legend_of_comparison(found, str(before), str(after))
    _say(f"{legend}\n\n{shown(found.set_index(['type', 'agents']), digits)}")
    if out:
        write_table(found, out)


@app.command()
def table(
    folder: Annotated[
        Path, typer.Argument(help="the folder of a sweep, of several seeds or of one run", show_default=False)
    ],
    digits: Digits = 4,
    out: Table = None,
) -> None:
    """Print one table of trained runs: values that were swept, seeds, rewards, indicators, verdicts and gains."""
    from rbcc.runtime.reports.run_table import table_of
    from rbcc.runtime.reports.tables import check_table, table as shown, write_table

    if out:
        check_table(out)
    found = table_of(folder)
    _show_verdicts(shown(found, digits))
    if out:
        write_table(found, out)


@app.command()
def plot(
    run: Folder,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="folder for the pictures; default: the run")] = None,
    seed: Seed = 0,
) -> None:
    """Draw the training curves and one trained episode, or a sweep, as PNG files."""
    from rbcc.runtime.reports.plots import plot as draw

    for path in draw(run, out, seed=seed):
        typer.echo(path)


@app.command()
def models() -> None:
    """List the models that ship with rbcc."""
    from rbcc.compiler.tools.summary import shipped

    for name, title in shipped():
        typer.echo(f"{name:<28}{title}")


@app.command()
def lsp() -> None:
    """Serve an editor over standard input and output: a language server for specs."""
    from rbcc.editor import serve

    serve()


@app.command()
def explain(
    code: Annotated[str | None, typer.Argument(help="a code such as RB202; without it, all are listed")] = None,
) -> None:
    """Explain the code of a message: its cause, an example and the fix."""
    from rbcc.compiler.diagnostics.explain import explanation

    try:
        typer.echo(explanation(code))
    except LookupError as error:
        raise typer.BadParameter(str(error.args[0]), param_hint="CODE") from None


def _say(text: str, err: bool = False) -> None:
    """Prints words for people, of which a spec may have brought in some."""
    typer.echo(printable(text), err=err)


def _show_verdicts(text: str) -> None:
    """Prints the words of a verification; in a terminal the verdicts have their colours."""
    colours = {"NOT REFUTED": "green", "CERTIFIED": "green", "SOLVED": "green", "REFUTED": "red", "UNSOLVED": "red"}
    colours |= {"INCONCLUSIVE": "yellow", "TRIVIAL": "yellow"}
    words = "|".join(sorted(colours, key=len, reverse=True))
    typer.echo(re.sub(rf"\b({words})\b", lambda m: typer.style(m[0], fg=colours[m[0]], bold=True), printable(text)))


def _show(text: str, path: Path | None) -> None:
    if path is None:
        typer.echo(text, nl=False)
    else:
        from rbcc.compiler.util.atomic_write import write_file

        write_file(path, text.encode())


def _devices(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise typer.BadParameter(f"'{text}' is neither 'all' nor a number from 1 up", param_hint="--devices")
    return int(text)


def _overrides(pairs: list[str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for pair in pairs:
        path, equals, value = pair.partition("=")
        if not equals or not path.strip():
            raise typer.BadParameter(f"'{pair}' is not PATH=VALUE, such as parameters.eta=0.2", param_hint="--set")
        if not pair.isprintable():
            raise typer.BadParameter(f"{pair!r} is not text", param_hint="--set")
        found[path.strip()] = value.strip()
    return found


def main() -> None:
    """Runs the command line; mistakes of the user end in a message, never in a traceback."""
    # Imports and trees make many objects and no garbage: looking for it takes a quarter of a short command's time.
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
    try:
        app()
    except CompileError as error:
        typer.echo(render_text(error.diagnostics), err=True)
        sys.exit(1)
    except OSError as error:
        named = error.filename is not None and error.strerror
        _say(f"error: {error.filename}: {error.strerror}" if named else f"error: {error}", err=True)
        sys.exit(1)
    except (RunError, EditorError) as error:
        _say(f"error: {error}", err=True)
        sys.exit(1)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # a second Ctrl-C would have Python print a traceback as it ends
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise


if __name__ == "__main__":
    main()
