"""The command line: one function a command, no logic of its own.

Commands that only read specs (compile to IR or JSON, errors, summaries) never import JAX.
"""

import atexit
import gc
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rbcc.compiler.diagnostics import CompileError, render_text
from rbcc.runtime.errors import RunError


app = typer.Typer(
    name="rbcc",
    help="A compiler and a runtime for economies.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Spec = Annotated[
    str, typer.Argument(help="a spec file, or the name of a model that ships with rbcc", show_default=False)
]
Folder = Annotated[Path, typer.Argument(help="a run directory", show_default=False)]
Set = Annotated[
    list[str],
    typer.Option("--set", metavar="PATH=VALUE", help="override a value of the spec, such as parameters.eta=0.2"),
]
Seed = Annotated[int, typer.Option(help="seed of all randomness", min=0, max=2**31 - 1)]


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
    from rbcc.compiler.summary import summary, write_module

    compiled = compile_spec(spec, _overrides(set_))
    if compiled.warnings:
        typer.echo(render_text(compiled.warnings) + "\n", err=True)
    if emit is None:
        typer.echo(summary(compiled, write_module(compiled, out)))
    elif emit is Emit.IR:
        _show(compiled.model.text(), out)
    elif emit is Emit.JSON:
        from rbcc.compiler.ir import to_json

        _show(json.dumps(to_json(compiled.model), ensure_ascii=False) + "\n", out)
    elif emit is Emit.PYTHON:
        _show(compiled.python(), out)
    else:
        from rbcc.runtime.inspect import lowered

        _show(lowered(compiled, emit.value) + "\n", out)


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
    resume: Annotated[bool, typer.Option("--resume", help="go on with a run that was stopped")] = False,
) -> None:
    """Train every type of agents in a model; Ctrl-C saves and stops."""
    number = _devices(devices)
    from rbcc.runtime.devices import configure
    from rbcc.runtime.display import TrainingDisplay
    from rbcc.runtime.run import train_seeds

    configure(number, hosts)
    with TrainingDisplay(spec) as display:
        runs = train_seeds(
            spec,
            _overrides(set_),
            seeds=range(seed, seed + seeds),
            devices=number,
            out=out,
            resume=resume,
            listener=display.update,
            say=display.say,
        )
    if runs:  # on several hosts one has the results
        typer.echo(display.closing(runs))


@app.command()
def verify(
    run: Folder,
    set_: Set = [],  # noqa: B006
    plant: Annotated[
        list[str],
        typer.Option(help="change the trained behaviour on purpose: baker.random=20% or seller[0].quantity=30"),
    ] = [],  # noqa: B006
    seed: Seed = 0,
    devices: Devices = "all",
) -> None:
    """Estimate how much any agent could gain by deviating, with confidence bounds."""
    number = _devices(devices)
    from rbcc.runtime.devices import configure
    from rbcc.runtime.display import verification_display, verification_table
    from rbcc.runtime.equilibrium import verify as run_verification

    configure(number)
    with verification_display() as listener:
        result = run_verification(run, _overrides(set_), plants=plant, seed=seed, devices=number, listener=listener)
    typer.echo(verification_table(result))


@app.command()
def simulate(
    run: Folder,
    episodes: Annotated[int, typer.Option(help="episodes to play", min=1)] = 100,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="netCDF file; default: RUN/simulation.nc")] = None,
) -> None:
    """Play trained episodes and write all states, choices, values and rewards, with named dimensions, to netCDF."""
    from rbcc.runtime.simulate import simulate as run_simulation

    path = out or run / "simulation.nc"
    data = run_simulation(run, episodes=episodes, seed=seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.to_netcdf(path, engine="h5netcdf")
    typer.echo(f"{path}: {len(data.data_vars)} variables, {', '.join(f'{k} {v}' for k, v in data.sizes.items())}")


@app.command()
def plot(
    run: Folder,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="folder for the pictures; default: the run")] = None,
    seed: Seed = 0,
) -> None:
    """Draw the training curves and one trained episode as PNG files."""
    from rbcc.runtime.plot import plot as draw

    for path in draw(run, out, seed=seed):
        typer.echo(path)


@app.command()
def models() -> None:
    """List the models that ship with rbcc."""
    from rbcc.compiler.summary import shipped

    for name, title in shipped():
        typer.echo(f"{name:<28}{title}")


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


def _show(text: str, path: Path | None) -> None:
    if path is None:
        typer.echo(text, nl=False)
    else:
        path.write_text(text, encoding="utf-8")


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
            raise typer.BadParameter(f"{pair!r} is no text", param_hint="--set")
        found[path.strip()] = value.strip()
    return found


def main() -> None:
    """Runs the command line; mistakes of the user end in a message, never in a traceback."""
    # Imports and trees make many objects and no garbage: looking for it takes a quarter of a short command's time.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    try:
        app()
    except CompileError as error:
        typer.echo(render_text(error.diagnostics), err=True)
        sys.exit(1)
    except (RunError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
