"""From a spec to an equilibrium: trains, verifies, and where that is none trains on, or from another start.

    try-1, try-2, ...     run directories, each with its verification
    solution.json         written last: the verdict, all tries and the name of the best

Who tries until a test is passed passes it at last, by chance. So try k is tested at the level 5 % * 6 / (pi k)^2:
over all k these levels sum to 5 %, so that all tries together, however many, err with at most that probability
(Bonferroni). Only the individual question decides; the team's is answered beside it.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Any

from rbcc.compiler.util.atomic_write import write_file
from rbcc.runtime.economy.model import Model, compile
from rbcc.runtime.errors import Diverged, RunError
from rbcc.runtime.reports.html import write_page
from rbcc.runtime.reports.numbers import percent
from rbcc.runtime.reports.verification_text import confidence, verification_summary
from rbcc.runtime.session import START, Listener, train
from rbcc.runtime.storage.run_directory import Run
from rbcc.runtime.verification.results import Equilibrium, Row, Verdict
from rbcc.runtime.verification.statistics import CONFIDENCE
from rbcc.runtime.verification.stored import read
from rbcc.runtime.verification.verify import origin, verify


VERIFYING = 2**30
"""Seeds of verifications are those of training plus this; those of training are below it."""
STANDS = (Verdict.CERTIFIED, Verdict.NOT_REFUTED)


class Outcome(StrEnum):
    SOLVED = "SOLVED"
    UNSOLVED = "UNSOLVED"
    TRIVIAL = "TRIVIAL"


@dataclass(frozen=True)
class Try:
    """A training and its verification.

    `number` counts from 1; `seed` is that of the training. `after` is the number of the try that it goes on from, None
    if it starts from random networks. `equilibrium` is None where training diverged, and `trouble` says then where.
    `seconds` is how long both took.
    """

    number: int
    folder: Path
    seed: int
    seconds: float
    equilibrium: Equilibrium | None
    trouble: str = ""
    after: int | None = None

    @property
    def rows(self) -> list[Row]:
        """Of the individual question."""
        rows = self.equilibrium.rows if self.equilibrium else ()
        return [row for row in rows if "individual" in row.estimate.notions]

    @property
    def gain(self) -> float | None:
        """The largest gain of one agent that is known, as a share of what it is compared with; None if that is 0.

        Also None where there is no equilibrium to gain from.
        """
        shares = [_share(row) for row in self.rows]
        return (
            None if None in shares or not self.equilibrium else max((x for x in shares if x is not None), default=0.0)
        )

    @property
    def broken_by(self) -> Row | None:
        """The row that keeps the individual verdict from one that stands: a refuted one, of these the largest gain."""
        found = [row for row in self.rows if row.verdict not in STANDS]
        return max(found, key=lambda row: (row.verdict is Verdict.REFUTED, _size(_share(row))), default=None)


@dataclass(frozen=True)
class Solution:
    """What came of all tries; `solution.json` in `folder` has the same in short.

    `verdict` is SOLVED if the last try is an equilibrium: its individual verdict is CERTIFIED or NOT REFUTED. It is
    TRIVIAL if all tries ended with a dead economy, else UNSOLVED. `best` is the try that solves it, or else the one
    that is alive and has the smallest gain; `limit` is how many tries there could have been.
    """

    verdict: Outcome
    tries: tuple[Try, ...]
    best: Try
    limit: int
    folder: Path

    @property
    def equilibrium(self) -> Equilibrium:
        """The verification of the best try."""
        assert self.best.equilibrium is not None
        return self.best.equilibrium


def solve(
    path: str | Path,
    overrides: Mapping[str, object] | None = None,
    *,
    target: str | float | None = None,
    minutes: float = 10.0,
    tries: int = 4,
    seed: int = 0,
    devices: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    listener: Listener | None = None,
    say: Callable[[str], None] | None = None,
) -> Solution:
    """Trains and verifies the spec at `path` until an equilibrium is found, and writes `out`, by default
    `runs/MODEL-solve`.

    Try k, from 1 on, trains with the seed `seed + k - 1` into the run directory `try-k` and verifies it. After a try
    from random networks that is alive but no equilibrium the next one goes on from its networks, with the last phase
    of training once more; else it starts from random networks, too. The first whose individual verdict is CERTIFIED or
    NOT REFUTED ends it; else the last of `tries`, or the one after which another as long as
    those before in the mean does not fit into `minutes`, which count training and verification, also of what was done
    before `resume`. `target`, such as "1%", 0.01 or "0.05 util", is in place of the spec's `verify.target`. `resume`
    goes on with an unfinished try and keeps those that are verified; with more `tries` or `minutes` than before it goes
    on after the last. A try whose training diverges is one that failed. The rest is as in `train`. Raises CompileError
    for a bad spec, RunError as `train` and `verify` do and if a number makes no sense, Diverged if every training does.
    """
    if tries < 1:
        raise RunError(f"tries is {tries}; at least one is needed")
    if not minutes > 0:
        raise RunError(f"minutes is {minutes:g}; it has to be above 0")
    if not 0 <= seed <= VERIFYING - tries:
        raise RunError(f"seed is {seed}; with {tries} tries it has to lie between 0 and {VERIFYING - tries:,}")
    settings = {**(overrides or {}), **({} if target is None else {"verify.target": target})}
    model = compile(path, settings)
    folder = _there(model, seed, out) if resume else _created(model, out)
    tell = say or (lambda _: None)

    def attempt(number: int, after: Try | None) -> Try:
        where, own = folder / f"try-{number}", seed + number - 1
        asked: dict[str, Any] = {"seed": VERIFYING + own, "confidence": _confidence(number)}
        of = f"try {number} of at most {tries}"
        since = after and after.number
        found = verified(where, model, own, asked, after) if resume else None
        if found is None:
            tell(f"{of}: training " + (f"on from try {since}, seed {own}" if after else f"seed {own}"))
            began = time.monotonic()
            try:
                train(
                    path,
                    settings,
                    seed=own,
                    devices=devices,
                    out=where,
                    start=after and after.folder,
                    phase=model.ir.phases[-1].name if after else None,
                    resume=resume and where.exists(),
                    listener=listener,
                    say=say,
                )
            except Diverged as error:
                tell(f"try {number}: {error}")
                return Try(number, where, own, time.monotonic() - began, None, str(error), since)
            tell(f"{of}: verifying")
            found = verify(where, devices=devices, listener=say, **asked)
        write_page(where, found)
        return Try(number, where, own, Run.open(where).manifest["seconds"] + found.seconds, found, after=since)

    done: list[Try] = []
    try:
        for number in range(1, tries + 1):
            if done and sum(one.seconds for one in done) * number / (number - 1) > 60 * minutes:
                break
            done.append(attempt(number, done[-1] if done and _unfinished(done[-1]) else None))
            if _individual(done[-1]) in STANDS:
                break
    finally:
        if folder.is_dir() and not any(folder.iterdir()):  # nothing was begun: the name is free again
            folder.rmdir()
    judged = [one for one in done if one.equilibrium]
    if not judged:
        raise Diverged(f"all tries ended so; the last: {done[-1].trouble}")
    solution = Solution(_outcome(judged), tuple(done), _best(judged), tries, folder)
    data = _summary(solution, model, path, seed)
    write_file(folder / "solution.json", (json.dumps(data, indent=2, allow_nan=False) + "\n").encode())
    return solution


def load(folder: str | Path) -> Solution:
    """What `solve` wrote into a folder. Raises RunError if it is not finished, or damaged."""
    folder = Path(folder)
    path = folder / "solution.json"
    if not path.is_file():
        raise RunError(f"{folder} has no solution yet; go on with it with: rbcc solve SPEC --out {folder} --resume")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        tries = []
        for number, one in enumerate(data["tries"], 1):
            where = folder / one["name"]
            equilibrium = None if "trouble" in one else read(where / "equilibrium.json")
            told = one.get("trouble", ""), one.get("after")
            tries.append(Try(number, where, one["seed"], one["seconds"], equilibrium, *told))
        best = next(one for one in tries if one.folder.name == data["best"] and one.equilibrium)
        return Solution(Outcome(data["verdict"]), tuple(tries), best, data.get("limit", len(tries)), folder)
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise RunError(f"{path} is damaged, or does not fit the tries beside it: {error or 'no best try'}") from None


def report(solution: Solution) -> str:
    """The verdict, the gains of the best try as `verify` prints them in short, and all tries."""
    best, done, result = solution.best, len(solution.tries), solution.equilibrium
    which = f"try {best.number} ({best.folder})"
    if solution.verdict is Outcome.SOLVED:
        first = f"SOLVED in try {best.number} of {solution.limit}: {best.folder}"
    else:
        end = "" if done == solution.limit else "; another one would not fit into the minutes given"
        after = f"{solution.verdict} after {done} of {solution.limit} tries{end}"
        if solution.verdict is Outcome.TRIVIAL:
            dead = ", ".join(name for name, ok in result.alive.items() if not ok)
            first = f"{after}: the economy is dead in all of them; in {which}, the best, this does not hold: {dead}"
        else:
            first = f"{after}. The best is {which}: {_breaks(best)}"
    team = result.verdicts["team"]
    lines = [
        first,
        f"Try {best.number} is tested with {confidence(result)} confidence: try k may err with 5% * 6 / (pi k)^2, all "
        f"together with {1 - CONFIDENCE:.0%}.",
        f"Whether types that act as one could gain (team) is another question, which does not decide here: {team}.",
        "",
        verification_summary(result),
        "",
        *_listed([("try", "individual", "team", "largest gain", "indicators"), *map(_cells, solution.tries)]),
    ]
    return "\n".join(lines)


# --- seeds and levels ----------------------------------------------------------------------------------------------


def _confidence(number: int) -> float:
    """That of the verification of try `number`, from 1 on."""
    return 1 - (1 - CONFIDENCE) * 6 / (math.pi * number) ** 2


# --- what tries are worth ------------------------------------------------------------------------------------------


def _share(row: Row) -> float | None:
    """The largest gain of one agent that is known of a row: of the mean over all, or surely of a single one.

    Where there are exact answers it is what is possible, or if no deviation reaches that, what was found.
    """
    one = row.estimate
    if one.exact is None:
        shares = [one.gain.share and one.gain.share.value, row.single and row.single.share_lower]
        found = [share for share in shares if share is not None]
        return max(found) if found else None if one.gain.amount.value else 0.0
    amount = one.exact.largest if one.exact.attained else one.exact.found_largest
    return amount / one.scale if one.scale else None if amount else 0.0


def _unfinished(one: Try) -> bool:
    """Whether more training may make an equilibrium of a try: it is alive, and began with random networks itself."""
    return one.after is None and _individual(one) not in (None, Verdict.TRIVIAL)


def _size(gain: float | None) -> float:
    return math.inf if gain is None else gain


def _individual(one: Try) -> Verdict | None:
    return one.equilibrium.verdicts["individual"] if one.equilibrium else None


def _outcome(verified: Sequence[Try]) -> Outcome:
    if any(_individual(one) in STANDS for one in verified):
        return Outcome.SOLVED
    return Outcome.TRIVIAL if all(_individual(one) is Verdict.TRIVIAL for one in verified) else Outcome.UNSOLVED


def _best(verified: Sequence[Try]) -> Try:
    return min(
        verified,
        key=lambda one: (_individual(one) not in STANDS, _individual(one) is Verdict.TRIVIAL, _size(one.gain)),
    )


# --- folders -------------------------------------------------------------------------------------------------------


def _created(model: Model, out: str | Path | None) -> Path:
    """A new folder: `out`, or the first of runs/MODEL-solve, runs/MODEL-solve-2, ... that is free."""
    name = Path("runs") / f"{model.ir.name}-solve"
    for folder in [Path(out)] if out else (name.with_name(name.name + (f"-{k}" if k > 1 else "")) for k in count(1)):
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise RunError(f"{out} already exists; choose another with --out, or go on with it with --resume")


def _there(model: Model, seed: int, out: str | Path | None) -> Path:
    """The folder to go on with: `out`, or the newest of this spec and seed, one without a solution if there is any."""
    if out:
        folder = Path(out)
        if not folder.is_dir():
            raise RunError(f"{folder} does not exist; without --resume it is begun")
        if (folder / "manifest.json").exists():
            raise RunError(f"{folder} is a run directory, which 'rbcc train --resume' goes on with")
        return folder
    found = []
    for folder in Path("runs").glob(f"{model.ir.name}-solve*/"):
        try:
            first = Run.open(folder / "try-1").manifest
        except RunError:  # a damaged one, or none
            continue
        if (first["digest"], first["seed"]) == (model.ir.digest, seed):
            found.append((not (folder / "solution.json").exists(), first["started"], folder))
    if not found:
        raise RunError(f"runs/ has no tries of this spec from --seed {seed} on; name their folder with --out")
    return max(found)[2]


def verified(
    where: Path, model: Model, seed: int, asked: Mapping[str, Any], after: Try | None = None
) -> Equilibrium | None:
    """The verification in a run directory, if it is that of `model` trained with `seed`, `after` another try or not,
    and was made as `asked`."""
    path = where / "equilibrium.json"
    if not path.is_file():
        return None
    run = Run.open(where)
    try:
        found = read(path)
    except ValueError:  # it is made again
        return None
    wanted = {**origin(run), **asked, "digest": model.ir.digest}
    same = all(found.settings.get(name) == value for name, value in wanted.items())
    same = same and (run.folder / f"{START}.safetensors").is_file() == bool(after)
    return found if same and run.finished and run.manifest["seed"] == seed else None


# --- words and data ------------------------------------------------------------------------------------------------


def _breaks(one: Try) -> str:
    """The deviation that breaks a try, or that may."""
    row = one.broken_by
    assert row is not None
    assert one.equilibrium is not None
    gains = "gains" if row.verdict is Verdict.REFUTED else "may gain more than the target, and is known to gain"
    exact = row.estimate.exact is not None and row.estimate.exact.attained
    by = "a best response computed exactly; the search found: " if exact else ""
    alone = f"{percent(_share(row))} alone, by {by}{row.estimate.best.words}"
    return f"{row.estimate.agent} {gains} {alone}. The target is {row.estimate.target}."


def _cells(one: Try) -> tuple[str, ...]:
    name = f"{one.folder.name}, seed {one.seed}" + (f", after try-{one.after}" if one.after else "")
    if one.equilibrium is None:
        return name, "diverged", "-", "-", "-"
    verdicts, met = one.equilibrium.verdicts, one.equilibrium.indicators.items()
    indicators = ", ".join(f"{name} {'-' if value is None else f'{value:.4g}'}" for name, value in met)
    return name, verdicts["individual"], verdicts["team"], percent(one.gain), indicators or "-"


def _listed(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines with the cells of each column below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _summary(solution: Solution, model: Model, path: str | Path, seed: int) -> dict[str, Any]:
    """What `solution.json` holds."""

    def described(one: Try) -> dict[str, Any]:
        found = {"name": one.folder.name, "seed": one.seed, "seconds": round(one.seconds, 1), "after": one.after}
        if one.equilibrium is None:
            return {**found, "trouble": one.trouble}
        row, result = one.broken_by, one.equilibrium
        return {
            **found,
            "verdicts": result.verdicts,
            "confidence": result.settings["confidence"],
            "gain": one.gain,
            "broken_by": row and {"agent": row.estimate.agent, "deviation": row.estimate.best.words},
            "alive": result.alive,
            "indicators": result.indicators,
        }

    return {
        "verdict": solution.verdict,
        "best": solution.best.folder.name,
        "model": model.ir.name,
        "spec": str(path),
        "digest": model.ir.digest,
        "targets": {agent: str(target) for agent, target in solution.equilibrium.targets.items()},
        "seed": seed,
        "limit": solution.limit,
        "tries": [described(one) for one in solution.tries],
    }
