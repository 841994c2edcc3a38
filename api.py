"""The verbs of Python, those of the command line: each takes a path, or what the verb before returned.

    import rbcc

    model = rbcc.compile("cournot")
    run = rbcc.train(model)
    found = rbcc.verify(run)
    found.to_frame()

What is not needed is not imported: `doc` and a fast `check` do without JAX.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbcc.compiler.diagnostics import CompileError, render_text
from rbcc.runtime.errors import RunError
from rbcc.runtime.results.folders import is_run


if TYPE_CHECKING:
    import jax
    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure

    from rbcc.compiler.driver import Compiled
    from rbcc.compiler.tools.check_report import Report
    from rbcc.runtime.economy.model import Model
    from rbcc.runtime.policies.policy import Parameters
    from rbcc.runtime.results.equilibrium import Equilibrium, Solution
    from rbcc.runtime.results.opened import Spec, Trained
    from rbcc.runtime.results.run import Run, Runs
    from rbcc.runtime.results.sweep import RunTable, Sweep
    from rbcc.runtime.results.tables import Comparison, Moments, Responses
    from rbcc.runtime.session import Listener
    from rbcc.runtime.validation.property_testing import Audit
    from rbcc.runtime.verification.verify import Listener as Said

Overrides = Mapping[str, object] | None
"""Dotted paths and the values in place of the spec's, such as `{"agents.seller.count": 7}`."""


@dataclass(frozen=True, repr=False)
class Check:
    """What is wrong with a spec, and what is proved or tested of it; `str` of it is what `rbcc check` prints.

    `report` has mistakes, proofs and flows; `audit` the tests in random cases, None if there were none.
    """

    report: "Report"
    audit: "Audit | None"

    @property
    def ok(self) -> bool:
        """Whether the spec compiles, and all that was tested holds. Warnings are not failure."""
        return self.report.compiled is not None and not (self.audit and self.audit.failures)

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        errors = sum(one.severity == "error" for one in self.report.diagnostics)
        warnings = len(self.report.diagnostics) - errors
        failures = len(self.audit.failures) if self.audit else 0
        return f"Check({'ok' if self.ok else 'NOT OK'}: {errors} errors, {warnings} warnings, {failures} failed tests)"

    def __str__(self) -> str:
        report, audit = self.report, self.audit
        found = render_text(report.diagnostics) if report.diagnostics else ""
        parts = [found, report.text() if report.compiled else "", audit.text() if audit else ""]
        return "\n".join(part for part in parts if part)

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"

    def to_frame(self) -> "pd.DataFrame":
        """A row for each account, identity and invariant: its kind and name, and whether it is proved and failed."""
        import pandas as pd

        failed = {failure.check for failure in self.audit.failures} if self.audit else set()
        rows = [(what, name, proved, name in failed) for what, name, _, proved in self.report.claims()]
        return pd.DataFrame(rows, columns=pd.Index(["kind", "name", "proved", "failed"]))


@dataclass(frozen=True, repr=False)
class Description:
    """The description of a model; `str` of it is Markdown, which notebooks typeset."""

    compiled: "Compiled"

    def __repr__(self) -> str:
        return f"Description({self.compiled.model.name})"

    def __str__(self) -> str:
        from rbcc.compiler.tools.doc import document

        return document(self.compiled, ".md")

    def _repr_markdown_(self) -> str:
        return str(self)

    def write(self, path: str | Path) -> Path:
        """Writes the description as the ending of `path` says: .md, .html or .tex. Raises RunError for another."""
        from rbcc.compiler.tools.doc import FORMS, document
        from rbcc.compiler.util.atomic_write import write_file

        path = Path(path)
        if path.suffix not in FORMS:
            raise RunError(f"'{path}' does not end with {', '.join(FORMS)}")
        write_file(path, document(self.compiled, path.suffix).encode())
        return path


def compile(spec: "Spec", overrides: Overrides = None) -> "Model":
    """Checks and compiles a spec.

    `spec` is a file, the name of a model that ships, a run or its folder, or a model, to which `overrides` are added.
    Raises CompileError, which carries every error of the spec with its place.

        model = rbcc.compile("open_rbc", {"agents.consumer.count": 7})
    """
    from rbcc.runtime.economy.model import compile
    from rbcc.runtime.results.opened import spec_of

    return compile(*spec_of(spec, overrides))


def check(spec: "Spec", overrides: Overrides = None, *, fast: bool = False, seed: int = 0) -> Check:
    """Finds mistakes in a spec, proves its accounts, and tests what must hold in many random cases, from `seed`.

    With `fast` only what needs no run of the model, and no JAX. A spec with errors gives a `Check` that is false.

        assert rbcc.check("closed_rbc")
    """
    from rbcc.compiler.tools.check_report import report_on

    path, settings = _spec(spec, overrides)
    report = report_on(path, settings)
    if fast or report.compiled is None:
        return Check(report, None)
    from rbcc.runtime.economy.model import Model
    from rbcc.runtime.validation.property_testing import try_out

    try:
        return Check(report, try_out(Model(report.compiled), seed))
    except CompileError as error:  # in a function of the spec's own
        from dataclasses import replace

        return Check(replace(report, diagnostics=(*report.diagnostics, *error.diagnostics), compiled=None), None)


def doc(spec: "Spec", overrides: Overrides = None) -> Description:
    """Describes a model: agents, timing, equations, parameters, sources. Raises CompileError for a bad spec.

    rbcc.doc("cournot").write("cournot.html")
    """
    from rbcc.compiler.driver import compile_spec

    return Description(compile_spec(*_spec(spec, overrides)))


def train(
    spec: "Spec",
    overrides: Overrides = None,
    *,
    seed: int = 0,
    devices: int | None = None,
    out: str | Path | None = None,
    start: "Trained | None" = None,
    phase: str | None = None,
    resume: bool = False,
    checked: bool = False,
    listener: "Listener | None" = None,
    say: "Said | None" = None,
) -> "Run":
    """Trains every type of agents and writes the run directory `out`, by default `runs/MODEL`.

    `spec` is as in `compile`. `devices` is how many of JAX's devices share the economies, by default all that can.
    `start` is a run from whose networks it begins, in place of random ones, of all types that see and choose the same
    there; `phase` is then the phase to begin with, by default the first. `resume` goes on with a run that was stopped;
    the result is the same as without the stop. `checked` tests all numbers, accounts, identities and invariants in
    every step. `listener` is called after every stretch of iterations, `say` told what is being compiled. Raises
    CompileError for a bad spec, RunError if the directory holds another run, the spec has no training or breaks its
    own accounts, devices or memory do not suffice, or nothing fits the start, Diverged if a number stops being finite,
    Violated if something does not hold.

        run = rbcc.train("cournot", {"training.phases.learn.iterations": 100}, out="runs/short")
    """
    from rbcc.runtime.results.run import Run
    from rbcc.runtime.session import train

    settings: dict[str, Any] = {"seed": seed, "devices": devices, "out": out, "resume": resume, "checked": checked}
    if start is not None or phase is not None:
        from rbcc.runtime.results.opened import run_of

        settings |= {"start": start and run_of(start).folder, "phase": phase}
    run = train(*_unchanged(spec, overrides), **settings, listener=listener, say=say)
    return Run(run.folder, run.manifest)


def sweep(
    spec: "Spec",
    values: Mapping[str, Sequence[object]],
    overrides: Overrides = None,
    *,
    seeds: int = 1,
    seed: int = 0,
    verify: bool = False,
    devices: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    listener: "Listener | None" = None,
    say: "Said | None" = None,
) -> "Sweep":
    """Trains a spec at all combinations of `values`, and writes the folder `out`, by default `runs/MODEL-sweep`.

    `values` maps dotted paths to the values that each takes; `overrides` hold at all points. At each point `seeds` are
    trained, from `seed` on. Points whose models differ in values of parameters only train in one program, with all
    seeds, and each run directory is as `train` would write it. With `verify` each run is then verified. `resume` goes
    on with a sweep that was stopped. A run that diverges is given up, and the others go on. The rest is as in `train`.
    Raises what `train` and `verify` raise, and RunError if there is nothing to sweep or the folder holds another sweep.

        sweep = rbcc.sweep("cournot", {"parameters.cost": [5, 10, 20]}, seeds=5)
        sweep.to_frame().groupby("parameters.cost")["indicator.price"].mean()
    """
    from rbcc.runtime.results.sweep import Sweep
    from rbcc.runtime.sweep import sweep

    path, settings = _unchanged(spec, overrides)
    asked: dict[str, Any] = {"seeds": seeds, "seed": seed, "verify": verify, "devices": devices, "out": out}
    found = sweep(path, values, settings, **asked, resume=resume, listener=listener, say=say)
    return Sweep(found.folder, found.about)


def verify(
    run: "Trained",
    overrides: Overrides = None,
    *,
    plants: Sequence[str] = (),
    seed: int = 0,
    confidence: float = 0.95,
    devices: int | None = None,
    listener: "Said | None" = None,
) -> "Equilibrium":
    """Estimates how much any type could gain by deviating, and writes `equilibrium.json` into the run directory.

    `run` is a run directory, or what `train`, `solve` or `load` returned. `overrides` may change `verify.*` settings of
    the spec. `plants` change the trained behaviour on purpose, to see the gain found: `baker.random=20%`,
    `seller[0].quantity=30` or `baker.hours*50%`; results then go to `equilibrium_planted.json`. `seed` is that of the
    search and of all episodes; bounds and verdicts hold together with the probability `confidence`. `devices` is as in
    `train`. `listener` is told what is being done. Raises RunError if the run cannot be verified or a plant makes no
    sense, OSError before the work if the result could not be written, Unwritten after it.

        rbcc.verify("runs/cournot", {"verify.iterations": 100}).to_frame()
    """
    from rbcc.runtime.results.equilibrium import Equilibrium
    from rbcc.runtime.results.opened import run_of
    from rbcc.runtime.verification.verify import verify

    folder = run_of(run).folder
    asked: dict[str, Any] = {"plants": plants, "seed": seed, "confidence": confidence, "devices": devices}
    return Equilibrium.of(verify(folder, overrides, **asked, listener=listener), folder)


def exploitability(
    model: "Model",
    networks: "Mapping[str, Parameters]",
    *,
    multipliers: "Mapping[str, jax.Array] | None" = None,
    untrained: "Mapping[str, Parameters] | None" = None,
    others: "Mapping[str, Mapping[str, Parameters]] | None" = None,
    plants: Sequence[str] = (),
    seed: int = 0,
    confidence: float = 0.95,
    devices: int | None = None,
    listener: "Said | None" = None,
) -> "Equilibrium":
    """How much any type of `model` gains by deviating from the policies that `networks` make.

    Neither reads nor writes a file. `networks` holds the parameters of each agent type as training gives them
    (`Run.profile()`, `Policy.init`): of its "layers" weights, (wide, narrow), and biases, (wide,); of "choices",
    one for each stack of heads, and of "value" the same. `multipliers` are those of constraints by `type.constraint`,
    scalars, by default 0. `untrained` has networks before training, by default fresh ones from `seed`; `others` are
    more networks to try as deviations, by a name for each set of them. The rest is as in `verify`. Raises RunError if
    the spec does not say what learns, a payoff is not a finite number, or a plant or the confidence makes no sense.

        run = rbcc.load("runs/cournot")
        rbcc.exploitability(run.model, run.profile())
    """
    from rbcc.runtime.results.equilibrium import Equilibrium
    from rbcc.runtime.verification.verify import exploitability

    given: dict[str, Any] = {"multipliers": multipliers, "untrained": untrained, "others": others}
    asked: dict[str, Any] = {"plants": plants, "seed": seed, "confidence": confidence, "devices": devices}
    return Equilibrium.of(exploitability(model, networks, **given, **asked, listener=listener), None)


def solve(
    spec: "Spec",
    overrides: Overrides = None,
    *,
    target: str | float | None = None,
    minutes: float = 10.0,
    tries: int = 4,
    seed: int = 0,
    devices: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    listener: "Listener | None" = None,
    say: "Said | None" = None,
) -> "Solution":
    """Trains and verifies, from one start after another, until an equilibrium is found; writes `out`, by default
    `runs/MODEL-solve`.

    Try k trains `seed + k - 1`. `target`, such as "1%", 0.01 or "0.05 util", is the gain that an agent may have, by
    default the spec's. No try begins that does not fit into `minutes`, or is above `tries`. `resume` goes on with what
    was stopped. The rest is as in `train`. Raises what `train` and `verify` raise, and RunError if a number makes no
    sense.

        rbcc.solve("cournot", target="2%").equilibrium
    """
    from rbcc.runtime.results.equilibrium import Solution
    from rbcc.runtime.solve import solve

    limits: dict[str, Any] = {"target": target, "minutes": minutes, "tries": tries, "seed": seed, "devices": devices}
    told: dict[str, Any] = {"listener": listener, "say": say}
    return Solution.of(solve(*_unchanged(spec, overrides), **limits, out=out, resume=resume, **told))


def simulate(run: "Trained", *, episodes: int = 100, steps: int | None = None, seed: int = 0) -> "xr.Dataset":
    """Plays `episodes` with the trained policies of a run, of `steps` steps, by default the horizon of the model.

    Every state (at the start of a step), choice, value of an equation, reward and indicator is a variable with the
    dimensions episode, step and the agent types it is indexed by, in the order of the spec; units and descriptions are
    attributes. Raises RunError if the run has no checkpoint, if episodes that end are to go on, or if memory does not
    suffice.

        rbcc.simulate("runs/cournot")["price"].mean("episode")
    """
    from rbcc.runtime.reports.dataset import simulate
    from rbcc.runtime.results.opened import run_of

    return simulate(run_of(run).folder, episodes=episodes, steps=steps, seed=seed)


def moments(
    run: "Trained",
    *,
    relative_to: str | None = None,
    hp: float | None = None,
    steps: int | None = None,
    paths: int = 100,
    burn: int = 0,
    seed: int = 0,
) -> "Moments":
    """Means, deviations, autocorrelations and cross-correlations of a run's indicators, with standard errors.

    Over `paths` of `steps` steps, by default as many as an episode has, the first `burn` not counted. `relative_to` is
    the indicator to compare with, by default the first; `hp` the smoothness of Hodrick and Prescott's filter, 1600 for
    quarters, by default none. Raises RunError if the run cannot be simulated.

        rbcc.moments(run, hp=1600, steps=200).to_frame()[["sd", "rho_1"]]
    """
    from rbcc.runtime.reports.moments import moments
    from rbcc.runtime.results.opened import run_of
    from rbcc.runtime.results.tables import Moments

    given: dict[str, Any] = {"relative_to": relative_to, "hp": hp, "steps": steps, "paths": paths, "burn": burn}
    frame = moments(run_of(run).folder, **given, seed=seed)
    return Moments(frame, relative_to or str(frame.index[0]), hp)


def irf(
    run: "Trained", shock: str, *, steps: int | None = None, paths: int = 256, burn: int = 0, seed: int = 0
) -> "Responses":
    """Impulse responses of a run's indicators, from pairs of paths with the same random numbers.

    `shock` is a state and what is added to it after `burn` steps: `productivity=+0.01` in its unit, `+1%` of it, or
    `+1sd` of its own shock. `steps` are followed, by default 40, or as many as an episode has. Raises RunError for a
    shock that cannot be read or that no path can have, or a run that cannot be simulated.

        rbcc.irf(run, "productivity=+1sd").plot()
    """
    from rbcc.runtime.reports.moments import responses
    from rbcc.runtime.results.opened import run_of
    from rbcc.runtime.results.tables import Responses

    frame = responses(run_of(run).folder, shock, steps=steps, paths=paths, burn=burn, seed=seed)
    return Responses(frame, shock)


def compare(
    before: "Trained",
    after: "Trained",
    *,
    consumption: Mapping[str, str] | None = None,
    episodes: int = 256,
    seed: int = 0,
) -> "Comparison":
    """Who is better off in which of two runs: mean payoffs of each type and of fifths of its agents, and differences.

    `before` and `after` are runs, or what was made of one. Both are played for `episodes` with the same random numbers.
    `consumption` names, by type, the value that is its consumption; the share of it that makes up for the difference is
    then computed from the rewards of the spec (0.03 is 3 %). Raises RunError if the runs have no type in common, or
    episodes of different length, or a value cannot be scaled.

        rbcc.compare("runs/a", "runs/b", consumption={"planner": "consume"}).to_frame()
    """
    from rbcc.runtime.reports.welfare import compare
    from rbcc.runtime.results.opened import run_of
    from rbcc.runtime.results.tables import Comparison

    first, second = run_of(before).folder, run_of(after).folder
    frame = compare(first, second, consumption=consumption, episodes=episodes, seed=seed)
    return Comparison(frame, str(first), str(second))


def table(result: "str | Path | Run | Runs | Sweep") -> "RunTable":
    """One table of a sweep, of several seeds or of one run, or of the folder of these: a row for each run.

    It has the values at the run's point of the sweep, its seed and status, rewards and indicators (means per step over
    the last record of the training) and, of verified runs, the verdicts and the largest gain with its bounds. Raises
    RunError if the folder is none of these, or is damaged.

        rbcc.table("runs/cournot-sweep").write("table.tex")
    """
    from rbcc.runtime.results.opened import table_of

    return table_of(result)


def plot(result: "Trained | Moments | Responses | Comparison") -> "Figure":
    """The picture of a result, as its own `plot` draws it: of a run its curves, of a verification its gains.

    `result` is a folder, or anything that a verb returned. Returns a figure of matplotlib and changes nothing in the
    session. Raises RunError if there is nothing to draw.

        rbcc.plot("runs/cournot").savefig("training.pdf")
    """
    from rbcc.runtime.results.opened import load

    found = load(result) if isinstance(result, str | Path) else result
    if not hasattr(found, "plot"):
        raise RunError(f"a {type(found).__name__} has no picture; pass a run, or a result that a verb returned for one")
    return found.plot()


def load(folder: str | Path) -> "Run | Runs | Sweep | Solution":
    """Opens what `train`, `sweep` or `solve` wrote: a run directory, with its verification, a folder of seeds, of a
    sweep or of tries.

    Raises RunError if the folder is none of these, is not finished or is damaged.

        rbcc.load("runs/cournot").equilibrium
    """
    from rbcc.runtime.results.opened import load

    return load(folder)


def _spec(spec: "Spec", overrides: Overrides) -> tuple[str | Path, Overrides]:
    """Where a spec lies, without importing JAX for a path."""
    if isinstance(spec, str | Path) and not is_run(spec):
        return spec, overrides
    from rbcc.runtime.results.opened import spec_of

    return spec_of(spec, overrides)


def _unchanged(spec: "Spec", overrides: Overrides) -> tuple[str | Path, Overrides]:
    """Where a spec lies. Raises RunError if a model was compiled from another version of it."""
    from rbcc.compiler.driver import compile_spec
    from rbcc.runtime.economy.model import Model
    from rbcc.runtime.results.opened import spec_of

    if isinstance(spec, Model):
        path, own = spec_of(spec)
        if compile_spec(path, own).model.digest != spec.ir.digest:
            raise RunError(f"{path} has changed since the model was compiled; compile it again")
    return spec_of(spec, overrides)
