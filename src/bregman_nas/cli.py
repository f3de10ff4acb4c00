"""The command line, `bregman-nas`; every stage of dvc.yaml is one of its commands.

The modules that do the work are imported by the commands: torch and pandas take seconds.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from bregman_nas.errors import UserError

if TYPE_CHECKING:
    from bregman_nas.settings import Settings


class _Commands(TyperGroup):
    """Turns a mistake of the user's into a message and an exit status, here and nowhere else."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            continues = "; the same command continues from the checkpoints"
            _complain(f"interrupted{continues if ctx.invoked_subcommand == 'search' else ''}")
            raise typer.Exit(130) from None
        except (UserError, OSError) as error:
            _complain(f"bregman-nas: {error}")
            raise typer.Exit(1) from error


def _complain(message: str) -> None:
    # DVC runs this command, and not in a copy that it deletes.
    if "DVC_STAGE" in os.environ and ".dvc" not in Path.cwd().parts and Path(".git").exists():
        message += "\nDVC had removed the outputs of this stage: `git status` shows them, "
        message += "`git restore` brings committed ones back"
    print(message, file=sys.stderr)


app = typer.Typer(
    cls=_Commands,
    help="Neural architecture search via Bregman iterations: a reproducibility study. `dvc repro` "
    "runs these commands in the right order.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich takes longer to import than all the rest
    pretty_exceptions_enable=False,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status, 1 for a mistake of the user's, 2 for wrong usage."""
    try:
        app(arguments, prog_name="bregman-nas")
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def _seed_numbers(text: str) -> list[int]:
    from bregman_nas.settings import seed_numbers

    ranges = (part if "-" in part else f"{part}-{part}" for part in text.split(","))
    try:
        return [seed for numbers in ranges for seed in seed_numbers(numbers)]
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a list such as 0,2,5-9") from error


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("bregman-nas"))
        raise typer.Exit


HERE = Path()
Project = Annotated[
    Path, typer.Option(help="The repository.", exists=True, file_okay=False, resolve_path=True)
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run or arm of params.yaml.")]
Seed = Annotated[int, typer.Option(min=0)]

LIST: dict[str, Any] = {"parser": _seed_numbers, "metavar": "0,2,5-9"}
SEEDS = typer.Option(help="Only these; writes their records, not the tables of the run.", **LIST)
WORKERS = typer.Option(help="Seeds at a time; by default one for each core.", min=1)
SCHEDULER = typer.Option(help="A Dask scheduler for the seeds: tcp://HOST:8786.")
DEVICE = typer.Option(help="A torch device.")
ENGINE = typer.Option(
    help="compact is fast on a CPU; lockstep does all seeds, or --workers of them, as one batch on "
    "a GPU; textbook is the readable reference of the same computation."
)
TF32 = typer.Option(
    "--tf32",
    help="Let an NVIDIA GPU round the factors of products to TF32: faster, with relative errors of "
    "2^-11 instead of 2^-24; the records are those of another device.",
)
VERSION = typer.Option("--version", help="Print the version.", is_eager=True, callback=_version)


def _settings(project: Path) -> "Settings":
    from bregman_nas.settings import load_settings

    return load_settings(project / "params.yaml")


@app.callback()
def _before_the_command(
    ctx: typer.Context, project: Project = HERE, version: Annotated[bool, VERSION] = False
) -> None:
    # So that `--project` may stand on either side of the command.
    commands = [str(command.name) for command in app.registered_commands]
    ctx.default_map = {command: {"project": str(project)} for command in commands}


@app.command("prepare")
def prepare(project: Project = HERE) -> None:
    """Find or download the images, verify and describe them.

    They are looked for in data/raw and in the folders of $BREGMAN_NAS_DATA. Their checksums are
    written to data/manifest.json, and how often each pixel is not zero to data/pixels.csv.
    """
    from bregman_nas.data.manifest import write

    settings = _settings(project)
    datasets = {settings.run(name).experiment.dataset for name in settings.names}
    print("wrote", *write(project, settings.data.source, datasets))


@app.command("search", context_settings={"auto_envvar_prefix": "BREGMAN_NAS"})
def search(
    run: RunName,
    seeds: Annotated[Any, SEEDS] = None,
    workers: Annotated[int | None, WORKERS] = None,
    scheduler: Annotated[str | None, SCHEDULER] = None,
    device: Annotated[str, DEVICE] = "cpu",
    engine: Annotated[Literal["compact", "textbook", "lockstep"], ENGINE] = "compact",
    tf32: Annotated[bool, TF32] = False,
    project: Project = HERE,
) -> None:
    """Search all seeds of a run, such as paper-residual-denoising.

    Finished seeds are taken from their records; an interrupted search continues.
    """
    from bregman_nas.export.finished import keep
    from bregman_nas.search.executor import search_seeds
    from bregman_nas.search.job import Job
    from bregman_nas.search.records import check_one_device, device_of, run_folder
    from bregman_nas.search.results import write_results

    settings = _settings(project)
    chosen = settings.run(run)
    jobs = [Job(chosen, seed, project, engine, device, tf32) for seed in seeds or chosen.seeds]
    records = search_seeds(jobs, workers, scheduler)
    if not seeds:
        check_one_device(run, {record["seed"]: device_of(record) for record in records})
        write_results(run_folder(project, run), records)
    for job, record in zip(jobs, records, strict=True):
        if job.seed == 0 and chosen.of is None and not settings.runs[run].change:
            keep(job, record)


@app.command("baselines")
def baselines(project: Project = HERE) -> None:
    """Fit and evaluate the answers that need no network."""
    from bregman_nas.baselines.answers import write_baselines

    print(f"wrote {write_baselines(project, _settings(project))}")


@app.command("first-steps")
def first_steps(project: Project = HERE) -> None:
    """Count the DenseNets that grow or die in their first steps."""
    from bregman_nas.search.first_steps import write_first_steps

    settings = _settings(project)
    print(f"wrote {write_first_steps(settings.starts, settings.first_steps.steps, project)}")


@app.command("released-code")
def released_code(
    clone: Annotated[
        Path, typer.Argument(help="A clone of TimRoith/BregmanLearning, with its history.")
    ],
    project: Project = HERE,
) -> None:
    """Run the authors' released code beside this study's."""
    from bregman_nas.released_code import run_beside

    print(f"wrote {run_beside(clone, _settings(project), project)}")


@app.command("export")
def export(
    run: RunName,
    out: Annotated[Path, typer.Option(help="The folder; it is made if needed.")],
    seed: Seed = 0,
    project: Project = HERE,
) -> None:
    """Write the small network that a search found, as safetensors and ONNX."""
    from bregman_nas.export.finished import export
    from bregman_nas.search.job import Job

    print(export(Job(_settings(project).run(run), seed, project), out))


@app.command("figures")
def figures(
    names: Annotated[list[str] | None, typer.Argument(help="By default all.")] = None,
    project: Project = HERE,
) -> None:
    """Draw the figures from the results of all runs."""
    from bregman_nas.report.data import read_study
    from bregman_nas.report.figures import draw

    print(draw(read_study(project), names or ()))


def _add_command(name: str, module: str, function: str, help: str) -> None:
    """A command that gives the study to a function, and prints what that returns."""

    @app.command(name, help=help)
    def command(project: Project = HERE) -> None:
        from bregman_nas.report.data import read_study

        made = getattr(import_module(f"bregman_nas.report.{module}"), function)
        print(made(read_study(project)))


_add_command("aggregate", "tables", "aggregate", "Write the tables and claims from the results.")
_add_command(
    "page", "page", "build", "Make docs/page.html, which shows each search in any browser."
)
_add_command("paper", "paper", "build", "Build the report, paper/study.pdf, from the results.")
_add_command("readme", "readme", "update", "Put findings, Table 1 and timings into README.md.")


@app.command("bench")
def bench(
    runs: Annotated[
        list[str] | None, typer.Argument(help="By default all that have seeds and no change.")
    ] = None,
    train: Annotated[int, typer.Option(min=0, help="Epochs to train on the way.")] = 30,
    seed: Seed = 0,
    lockstep: Annotated[bool, typer.Option("--lockstep", help="Ten seeds as one batch.")] = False,
    project: Project = HERE,
) -> None:
    """Measure how fast the trainers are, on an idle machine."""
    from bregman_nas.bench import measure_runs, print_lockstep

    settings = _settings(project)
    names = runs or [n for n, row in settings.runs.items() if row.seeds and not row.change]
    chosen = [settings.run(name) for name in names]
    if lockstep:
        print_lockstep(chosen, project)
    else:
        print(f"wrote {measure_runs(chosen, project, train, seed)}")


@app.command("accept")
def accept(
    reason: Annotated[str, typer.Argument(help="What was changed, in a sentence.")],
    project: Project = HERE,
) -> None:
    """Show that changed code gives the same numbers, and add it to accepted.json."""
    from bregman_nas.search.acceptance import accept

    print(accept(_settings(project), project, reason))


@app.command("demo")
def demo(project: Project = HERE) -> None:
    """Run the whole pipeline on the committed sample, in a copy."""
    from bregman_nas.demo import demonstrate

    demonstrate(project)
