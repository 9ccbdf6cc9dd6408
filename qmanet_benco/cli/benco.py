"""The commands `qmanet benco ...`, which run the framework's scripts, and `qmanet noise-cache`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qmanet_benco.cli.options import Plugins, debugging
from qmanet_benco.errors import RequestError

app = typer.Typer(help="Run the framework's own scripts, unmodified, with QMA-Net.", no_args_is_help=True)


_BENCO_SCRIPTS = {
    "train": "Train a model. Pixel-F1 on the test data every few epochs.",
    "test": "Test checkpoints. Pixel-F1 of each in a folder on each set of a JSON file.",
    "test_robust": "Test a checkpoint under attack. Pixel-F1 on one set after blur, noise and JPEG.",
    "test_complexity": "Count parameters and multiply-adds.",
    "test_save_images": "Write predicted masks. PNG files at the images' sizes.",
}


_RUN = "run"
_ABOUT_RUN = "Run your own copy of a script. `benco init` makes such copies; the corrections that are for it apply."


def _add_benco_command(script: str, about: str) -> None:
    """Add one command for each stock script; the options are ours, everything else goes to the script."""

    def command(
        context: typer.Context,
        nproc: Annotated[str, typer.Option(help="Processes on this machine; auto or gpu: one on each GPU.")] = "1",
        nnodes: Annotated[int, typer.Option(help="Machines; start the same command on each.")] = 1,
        rdzv: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where several machines meet.")] = "",
        max_restarts: Annotated[
            int, typer.Option(help="Restart crashed processes; training goes on from its newest checkpoint.")
        ] = 0,
        levels: Annotated[str, typer.Option(help='For test_robust: attacks, e.g. "blur=3,7 noise=3,11 jpeg=90".')] = "",
        stock: Annotated[bool, typer.Option("--stock", help="Run the framework as it is, with its defects.")] = False,
        without: Annotated[
            list[str] | None, typer.Option(metavar="NAME", help="Leave one correction out (names: `qmanet doctor`).")
        ] = None,
        allow_pickle: Annotated[
            bool, typer.Option("--allow-pickle", help="Let checkpoints run code; only if you trust their source.")
        ] = False,
        plugins: Plugins = None,
        show_help: Annotated[
            bool, typer.Option("--help", "-h", help="Show this; with --model NAME all flags too.")
        ] = False,
    ) -> None:
        from qmanet_benco.benco.seam.flags import model_name
        from qmanet_benco.benco.seam.options import help_text
        from qmanet_benco.benco.seam.own_scripts import kind_of

        model = model_name(context.args)
        words = list(context.args)
        file = words.pop(0) if script == _RUN and words else ""
        kind = script
        if script == _RUN and (file or not show_help):
            kind = kind_of(file)
        if show_help:
            typer.echo(context.get_help())
            if kind == "train":
                typer.echo(f"\n{help_text()}")
            if not model:
                command = f"{script} SCRIPT.py" if script == _RUN else script
                typer.echo(f"\nFlags of the script and of a model: qmanet benco {command} --model QMANet --help")
                return
        from qmanet_benco.benco.launch.elastic import Group
        from qmanet_benco.benco.launch.launcher import Run, launch, show_flags

        run = Run(
            kind,
            tuple(words),
            stock=stock,
            without=tuple(without or ()),
            allow_pickle=allow_pickle,
            levels=levels,
            debug=debugging(context),
            file=file,
            plugins=tuple(plugins or ()),
        )
        if show_help:
            show_flags(run, model)
            return
        raise typer.Exit(launch(run, Group(nproc, nnodes, rdzv, max_restarts)))

    app.command(
        script,
        help=f"{about} FLAGS are the script's and the model's own; without CUDA the CPU is used.",
        options_metavar="SCRIPT.py [OPTIONS] [FLAGS]" if script == _RUN else "[OPTIONS] [FLAGS]",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        add_help_option=False,
    )(command)


for _script, _about in {**_BENCO_SCRIPTS, _RUN: _ABOUT_RUN}.items():
    _add_benco_command(_script, _about)


def noise_cache(
    data: Annotated[list[Path], typer.Argument(metavar="DATA...", help="ManiDataset folders or JSON lists.")],
    cache: Annotated[Path, typer.Option(help="Folder to write to; --noiseprint_cache reads it.")],
    weights: Annotated[str, typer.Option(help="NoisePrint++: a file, or a name of `qmanet weights list`.")] = (
        "noiseprint++"
    ),
    image_size: Annotated[int, typer.Option(help="Side of the network's input in pixels.")] = 512,
    padding: Annotated[bool, typer.Option("--padding", help="Pad images to it instead of resizing them.")] = False,
    share: Annotated[str, typer.Option(help="I/N: only the I-th of N parts, for several processes.")] = "0/1",
) -> None:
    """Compute NoisePrint++ residuals once, before trainings.

    Trainings without augmentation and tests read them with --noiseprint_cache.
    """
    from qmanet_benco.benco.residuals import keep_residuals
    from qmanet_benco.progress import shown

    part, _, parts = share.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and int(part) < int(parts)):
        raise RequestError(f"--share {share}", "I/N with I from 0 to N - 1, such as 0/2")
    for path in data:
        with shown("residuals") as progress:
            computed = keep_residuals(
                path,
                cache,
                weights=weights,
                image_size=image_size,
                padding=padding,
                share=(int(part), int(parts)),
                progress=progress,
            )
        typer.echo(f"{path}: {computed} residuals computed")
