"""The command line, `bregman-nas`; every stage of dvc.yaml is one of its commands."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bregman_nas.report.data import Study


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status, with a message for a mistake of the user's."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = options.command
    from bregman_nas.errors import UserError
    from bregman_nas.settings import SettingsError  # not before the arguments are known to be right

    mistakes: tuple[type[Exception], ...] = (UserError, SettingsError, OSError)
    try:
        command(options)
    except KeyboardInterrupt:
        continues = "; the same command continues from the checkpoints"
        print(f"interrupted{continues if command is _search else ''}", file=sys.stderr)
        return 130
    except Exception as error:
        if not isinstance(error, mistakes) and type(error).__name__ not in _MISTAKES:
            raise
        print(f"bregman-nas: {error}", file=sys.stderr)
        if "DVC_STAGE" in os.environ:  # DVC runs this command
            print(
                "DVC has removed the stage's outputs before; `git status` shows them, "
                "`git restore` brings committed ones back",
                file=sys.stderr,
            )
        return 1
    return 0


# Named and not imported: their modules import torch or pandas, which takes seconds.
_MISTAKES = (
    "DataError",
    "ExportError",
    "MixedDevicesError",
    "StoppedError",
    "UserError",
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bregman-nas",
        description="Neural architecture search via Bregman iterations: a reproducibility study. "
        "`dvc repro` runs these commands in the right order.",
    )
    parser.add_argument(
        "--project",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="the repository (default: the current folder)",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    prepare = commands.add_parser(
        "prepare", help="find or download the images, verify them, write data/manifest.json"
    )
    prepare.set_defaults(command=_prepare)

    search = commands.add_parser(
        "search", help="search all seeds of a run, such as paper-residual-denoising"
    )
    search.add_argument("run", metavar="RUN", help="a key of `runs` in params.yaml")
    search.add_argument(
        "--seeds",
        type=_seeds,
        metavar="0,2,5-9",
        help="only these seeds; their records are written, the run's results are not",
    )
    search.add_argument(
        "--workers",
        type=_positive,
        default=os.environ.get("BREGMAN_NAS_WORKERS") or None,
        help="seeds side by side (default: $BREGMAN_NAS_WORKERS, else one for each core)",
    )
    search.add_argument(
        "--scheduler",
        type=_address,
        default=os.environ.get("BREGMAN_NAS_SCHEDULER") or None,
        metavar="ADDRESS",
        help="send the seeds to this Dask scheduler (default: $BREGMAN_NAS_SCHEDULER)",
    )
    search.add_argument(
        "--device",
        default=os.environ.get("BREGMAN_NAS_DEVICE") or "cpu",
        help="torch device (default: $BREGMAN_NAS_DEVICE, else cpu)",
    )
    search.add_argument(
        "--engine",
        type=_engine,
        default=os.environ.get("BREGMAN_NAS_ENGINE") or "compact",
        metavar="{compact,textbook,lockstep}",
        help="compact is fast on a CPU; lockstep, all seeds (or --workers of them) as one batch, "
        "is for a GPU; textbook is the readable reference of the same computation (default: "
        "$BREGMAN_NAS_ENGINE, else compact)",
    )
    search.add_argument(
        "--tf32",
        action="store_true",
        help="let an NVIDIA GPU round the factors of products to TF32: faster, with relative "
        "errors of 2^-11 instead of 2^-24; the records are those of another device",
    )
    search.set_defaults(command=_search)

    baselines = commands.add_parser(
        "baselines", help="fit and judge the answers that need no network, for all runs"
    )
    baselines.set_defaults(command=_baselines)

    first_steps = commands.add_parser(
        "first-steps", help="look at the first steps of the DenseNets of a run, one by one"
    )
    first_steps.add_argument("run", metavar="RUN", help="a key of `runs` in params.yaml")
    first_steps.set_defaults(command=_first_steps)

    export = commands.add_parser(
        "export", help="write the small network of a finished search: PyTorch, safetensors, ONNX"
    )
    export.add_argument("run", metavar="RUN", help="a key of `runs` in params.yaml")
    export.add_argument("--seed", type=_whole_number, default=0, metavar="K", help="default: 0")
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="made if needed")
    export.set_defaults(command=_export)

    aggregate = commands.add_parser(
        "aggregate", help="write the tables and the claims from the results of all runs"
    )
    aggregate.set_defaults(command=_aggregate)

    figures = commands.add_parser("figures", help="draw the figures from the results of all runs")
    figures.add_argument(
        "numbers",
        nargs="*",
        type=_figure,
        metavar="NUMBER",
        help="only these, 1 to 8",
    )
    figures.set_defaults(command=_figures)

    paper = commands.add_parser(
        "paper", help="build the report, paper/study.pdf, from the tables and figures"
    )
    paper.set_defaults(command=_paper)

    readme = commands.add_parser("readme", help="put Table 1 and outcome into README.md")
    readme.set_defaults(command=_readme)

    bench = commands.add_parser(
        "bench", help="measure the compact trainers against the textbook loop, on an idle machine"
    )
    bench.add_argument("runs", nargs="*", metavar="RUN", help="default: all that have seeds")
    bench.add_argument(
        "--train",
        type=_whole_number,
        default=30,
        metavar="EPOCHS",
        help="train that far to measure on the way (default: 30)",
    )
    bench.add_argument(
        "--seed",
        type=_whole_number,
        default=0,
        metavar="K",
        help="of the search in which the trainers are compared (default: 0)",
    )
    bench.add_argument(
        "--lockstep",
        action="store_true",
        help="measure ten seeds in lockstep and nothing else; on a GPU if there is one (without "
        "this option: only where there is one)",
    )
    bench.set_defaults(command=_bench)

    accept = commands.add_parser(
        "accept", help="show that changed code gives the same numbers, so that records stay valid"
    )
    accept.add_argument("reason", metavar="REASON", help="what was changed, in a sentence")
    accept.set_defaults(command=_accept)

    demo = commands.add_parser(
        "demo", help="run the whole pipeline on the committed sample, in a copy of the repository"
    )
    demo.set_defaults(command=_demo)
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _address(text: str) -> str:
    if not re.fullmatch(r"\w+://\S+:\d+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an address such as tcp://HOST:8786")
    return text


def _whole_number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def _figure(text: str) -> int:
    # Not by `choices`, which does not let none at all pass.
    if text not in tuple("12345678"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 8")
    return int(text)


def _engine(text: str) -> str:
    # Not by `choices`, which lets a default from the environment pass.
    if text not in ("compact", "textbook", "lockstep"):
        raise argparse.ArgumentTypeError(f"{text!r} is not compact, textbook or lockstep")
    return text


def _seeds(text: str) -> list[int]:
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise argparse.ArgumentTypeError(f"{text!r} is not a list such as 0,2,5-9")
        seeds += range(int(match[1]), int(match[2] or match[1]) + 1)
    return seeds


def _prepare(options: argparse.Namespace) -> None:
    import json

    from bregman_nas.data.files import manifest
    from bregman_nas.settings import load_settings

    project = options.project.resolve()
    settings = load_settings(project / "params.yaml")
    datasets = sorted({settings.run(name).experiment.dataset for name in settings.names})
    content = json.dumps(manifest(project, settings.data.source, datasets), indent=2)
    (project / "data" / "manifest.json").write_text(f"{content}\n", encoding="utf-8")


def _search(options: argparse.Namespace) -> None:
    import torch

    from bregman_nas.search.executor import search_seeds
    from bregman_nas.search.records import check_one_device, device_of, run_folder
    from bregman_nas.search.results import write_results
    from bregman_nas.search.seed import Job
    from bregman_nas.settings import SettingsError, load_settings

    try:
        if options.scheduler is None:  # else it is the workers that must have it
            torch.zeros(1, device=options.device).item()
    except (RuntimeError, AssertionError) as error:
        # torch says on its first line what is wrong, then how it was compiled.
        reason = str(error).splitlines()[0]
        raise SettingsError(f"--device {options.device} cannot be used: {reason}") from error
    if options.tf32 and not options.device.startswith("cuda"):
        raise SettingsError(f"--tf32 is for NVIDIA GPUs, not for --device {options.device}")
    if options.engine == "lockstep" and options.scheduler:
        raise SettingsError("--scheduler sends seed by seed; --engine lockstep batches them here")
    project = options.project.resolve()
    settings = load_settings(project / "params.yaml")
    run = settings.run(options.run)
    seeds = options.seeds or run.seeds
    how = (options.engine, options.device, options.tf32)
    jobs = [Job(run, seed, project, *how) for seed in seeds]
    records = search_seeds(jobs, options.workers, options.scheduler)
    if not options.seeds:
        check_one_device(run.name, {record["seed"]: device_of(record) for record in records})
        write_results(run_folder(project, run.name), records)
        # What comes after in the pipeline reads it, also where there is no seed.
        (run_folder(project, run.name) / "records").mkdir(exist_ok=True)
    from bregman_nas.export.finished import keep  # not before the results are written

    for job, record in zip(jobs, records, strict=True):
        if job.seed == 0 and run.of is None and not settings.runs[run.name].change:
            keep(job, record)


def _baselines(options: argparse.Namespace) -> None:
    from bregman_nas.baselines.judge import write_baselines
    from bregman_nas.settings import load_settings

    project = options.project.resolve()
    print(write_baselines(project, load_settings(project / "params.yaml")))


def _first_steps(options: argparse.Namespace) -> None:
    from bregman_nas.search.first_steps import write_first_steps
    from bregman_nas.settings import load_settings

    project = options.project.resolve()
    settings = load_settings(project / "params.yaml")
    print(write_first_steps(settings.run(options.run), project, settings.first_steps))


def _export(options: argparse.Namespace) -> None:
    from bregman_nas.export.folder import export
    from bregman_nas.search.seed import Job
    from bregman_nas.settings import load_settings

    project = options.project.resolve()
    run = load_settings(project / "params.yaml").run(options.run)
    print(export(Job(run, options.seed, project), options.out))


def _study(options: argparse.Namespace) -> "Study":
    """All results; a mistake if they are not of the settings, or the folder is another."""
    from bregman_nas.report.data import read_study

    return read_study(options.project.resolve())


def _aggregate(options: argparse.Namespace) -> None:
    study = _study(options)
    from bregman_nas.report.tables import aggregate

    print(aggregate(study))


def _figures(options: argparse.Namespace) -> None:
    study = _study(options)
    from bregman_nas.report.figures import draw

    print(draw(study, options.numbers))


def _paper(options: argparse.Namespace) -> None:
    study = _study(options)
    from bregman_nas.report.paper import build

    print(build(study))


def _readme(options: argparse.Namespace) -> None:
    study = _study(options)
    from bregman_nas.report.readme import update

    print(update(study))


def _bench(options: argparse.Namespace) -> None:
    import torch

    from bregman_nas.bench import measure, report, start_up, write
    from bregman_nas.bench_lockstep import measure_all
    from bregman_nas.settings import SettingsError, load_settings

    project = options.project.resolve()
    settings = load_settings(project / "params.yaml")
    names = options.runs or [
        name for name, row in settings.runs.items() if row.seeds and not row.change
    ]
    if not names:
        raise SettingsError("no run has seeds in params.yaml: name one, bregman-nas bench RUN")
    load = os.getloadavg()[0]
    if options.lockstep or torch.cuda.is_available():
        measure_all([settings.run(name) for name in names], project)
    else:
        print("There is no CUDA device: lockstep is not measured; --lockstep does it on the CPU.\n")
    if options.lockstep:
        return
    runs = [settings.run(name) for name in names]
    starts = start_up(project)
    for command, seconds in starts.items():
        print(f"{command}: {seconds:.2f} s")
    measured = []
    for run in runs:
        measured.append(measure(run, project, options.train, options.seed))
        print(report(measured[-1:]).splitlines()[-1], flush=True)
        path = write(measured, starts, project, load)
    print(f"\n{report(measured)}")
    print(f"\nAll numbers: {path}")


def _accept(options: argparse.Namespace) -> None:
    from bregman_nas.search.acceptance import accept
    from bregman_nas.settings import load_settings

    project = options.project.resolve()
    print(accept(load_settings(project / "params.yaml"), project, options.reason))


def _demo(options: argparse.Namespace) -> None:
    from bregman_nas.demo import demonstrate

    demonstrate(options.project.resolve())
