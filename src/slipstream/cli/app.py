"""The `slipstream` command. Commands import what they need when they run, so `--help` answers at once."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from slipstream.cli import experiment_app
from slipstream.cli.queue_app import queue_app
from slipstream.core.environment import prepare_environment
from slipstream.core.errors import SlipstreamError

app = typer.Typer(
    name="slipstream",
    help="Train LoRAs for Z-Image Turbo, and keep Turbo turbo.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
dataset_app = typer.Typer(help="Look at training data.", no_args_is_help=True)
app.add_typer(dataset_app, name="dataset")
app.add_typer(queue_app, name="queue")

ConfigFile = Annotated[
    Path, typer.Argument(help="The YAML file with the nine panels, or a job file of ai-toolkit.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Settings over the file's, such as training.steps=500 job.name=second_try", show_default=False),
]
RunFolder = Annotated[Path, typer.Argument(help="A run folder, such as runs/my_style.", show_default=False)]


class Origin(StrEnum):
    """Whose file `import` reads."""

    AI_TOOLKIT = "ai-toolkit"
    MUSUBI = "musubi"
    DIFFUSERS = "diffusers"


@app.command()
def train(
    config: ConfigFile,
    overrides: Overrides = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start anew: move an earlier run of this name aside.")] = False,
) -> None:
    """Train a LoRA. Ctrl+C saves and stops; `slipstream resume` goes on."""
    from slipstream.cli.training import train_command

    raise typer.Exit(train_command(config, overrides or [], fresh=fresh))


@app.command()
def resume(run: RunFolder, overrides: Overrides = None) -> None:
    """Go on with a stopped, failed or killed run from its newest checkpoint; training.steps=4000 makes it longer."""
    from slipstream.cli.training import resume_command

    raise typer.Exit(resume_command(run, overrides or []))


Wait = Annotated[bool, typer.Option("--wait", help="Return only when it is done.")]


@app.command()
def stop(run: RunFolder, wait: Wait = False) -> None:
    """Ask a running training to save and stop."""
    from slipstream.cli.control import control_command

    raise typer.Exit(control_command(run, "stop", wait=wait))


@app.command()
def save(run: RunFolder, wait: Wait = False) -> None:
    """Ask a running training for a checkpoint now."""
    from slipstream.cli.control import control_command

    raise typer.Exit(control_command(run, "save", wait=wait))


@app.command()
def preview(run: RunFolder, wait: Wait = False) -> None:
    """Ask a running training for previews now."""
    from slipstream.cli.control import control_command

    raise typer.Exit(control_command(run, "preview", wait=wait))


@app.command()
def push(
    run: RunFolder,
    repo: Annotated[
        str | None, typer.Option(help="The repository, owner/name.", show_default="save.push_to_hub's")
    ] = None,
    private: Annotated[
        bool | None, typer.Option("--private/--public", help="For a new repository.", show_default="private")
    ] = None,
    new_card: Annotated[bool, typer.Option("--new-card", help="Write the card anew where there is one.")] = False,
) -> None:
    """Upload a run's LoRA with a card and previews to the Hugging Face hub (log in first: hf auth login)."""
    from slipstream.cli.push import push_command

    push_command(run, repo, private, new_card=new_card)


@app.command()
def findings(
    run: RunFolder,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say what went wrong or could go better in a run, with the evidence and the settings to change."""
    from slipstream.cli.findings import findings_command

    findings_command(run, as_json=as_json)


@app.command()
def plan(
    config: ConfigFile,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Show what a training would do (data, buckets, steps, caches, time) and start nothing."""
    from slipstream.cli.plan import plan_command

    plan_command(config, overrides or [], as_json=as_json)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Look at this installation: Python, torch, GPU, speeds, libraries, disk, memory, hub; and what to do about it."""
    from slipstream.cli.doctor import doctor_command

    raise typer.Exit(doctor_command(as_json=as_json))


@app.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(help="A job file of ai-toolkit, or a command of musubi-tuner or diffusers.", show_default=False),
    ],
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the config goes.", show_default="NAME.slipstream.yaml beside the file")
    ] = None,
    origin: Annotated[
        Origin | None, typer.Option("--from", help="Whose file it is.", show_default="found out from the file")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Write over a file that is there already.")] = False,
) -> None:
    """Turn another trainer's file into a config, and tell what became of every key."""
    from slipstream.cli.imports import import_command

    import_command(file, out, overrides or [], origin=origin.value if origin else None, replace=replace)


@app.command()
def sample(
    prompts: Annotated[
        list[str] | None,
        typer.Argument(help='One or more prompts; flags are read: "a fox --w 832 --d 7".', show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="A model name, folder or hub id.", show_default="what the LoRA was trained on, else Z-Image-Turbo"
        ),
    ] = None,
    lora: Annotated[
        list[str] | None, typer.Option(help="A LoRA file or run folder, with :weight if not 1 (repeatable).")
    ] = None,
    lora_scales: Annotated[
        str, typer.Option(help="Draw every prompt at each of these LoRA weights, such as 0.4,0.7,1.0, and a sheet.")
    ] = "",
    trigger_word: Annotated[
        str | None, typer.Option(help="What [trigger] stands for.", show_default="the LoRA's own")
    ] = None,
    prompts_file: Annotated[
        Path | None, typer.Option(help="A file with one prompt a line, or a list in .json or .yaml.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the pictures go.")] = Path("samples"),
    negative_prompt: Annotated[str, typer.Option(help="Used where guidance is on.")] = "",
    width: Annotated[
        int | None, typer.Option(help="Pixels, a multiple of 16.", show_default="1024, tiny models 128")
    ] = None,
    height: Annotated[
        int | None, typer.Option(help="Pixels, a multiple of 16.", show_default="1024, tiny models 128")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, max=200, help="Denoising steps.", show_default="8 on Turbo, 25 on De-Turbo, 40 on Base"),
    ] = None,
    guidance_scale: Annotated[
        float | None, typer.Option(min=0, max=30, help="CFG; 0 or 1 = off.", show_default="the model's")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the first picture.")] = 42,
    walk_seed: Annotated[bool, typer.Option("--walk-seed", help="Seed + 1 for every further picture.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Draw pictures with a LoRA, without any training adapter: what ComfyUI and diffusers would draw."""
    from slipstream.cli.sampling import SampleOptions, sample_command

    sample_command(
        SampleOptions(
            prompts=tuple(prompts or ()), prompts_file=prompts_file, model=model, loras=tuple(lora or ()),
            lora_scales=lora_scales, trigger_word=trigger_word, out=out, negative_prompt=negative_prompt, width=width,
            height=height, steps=steps, guidance_scale=guidance_scale, seed=seed, walk_seed=walk_seed, device=device,
        )
    )  # fmt: skip


@app.command()
def drift(
    lora: Annotated[
        str, typer.Argument(help="A LoRA file, a run folder, or the name of a run in runs/.", show_default=False)
    ],
    all_checkpoints: Annotated[
        bool, typer.Option("--all", help="Every checkpoint of the run, and a plot over them.")
    ] = False,
    base: Annotated[
        str | None, typer.Option(help="A model name, folder or hub id.", show_default="what the LoRA was trained on")
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="A file with unrelated prompts, one a line.", show_default="twelve of slipstream's own"),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=64, help="Pictures of each prompt.")] = 1,
    size: Annotated[
        int | None, typer.Option(help="Side of the pictures in pixels.", show_default="512, tiny models 128")
    ] = None,
    weight: Annotated[float, typer.Option(min=-4, max=4, help="Of the LoRA.")] = 1.0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Without the test of steps and CFG: a quarter of the time.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    out: Annotated[
        Path | None, typer.Option(help="The folder for drift.json, drift.html and pictures.", show_default="drift/NAME")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Is Turbo with this LoRA still Turbo? Measures drift on unrelated prompts, and says what to do."""
    from slipstream.cli.drift import DriftOptions, drift_command

    drift_command(lora, DriftOptions(all_checkpoints, base, prompts, seeds, size, weight, quick, device, out, as_json))


@app.command()
def preserve(
    lora: Annotated[Path, typer.Argument(help="A finished run's folder, or a LoRA file.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="The new file.", show_default="NAME_preserved.safetensors beside it")
    ] = None,
    prompts_file: Annotated[
        Path | None,
        typer.Option(help="Prompts that ask for what was trained.", show_default="captions of the run's pictures"),
    ] = None,
    unrelated_file: Annotated[
        Path | None, typer.Option(help="Prompts that shall stay as they are.", show_default="packaged ones")
    ] = None,
    amount: Annotated[
        float, typer.Option(min=0.0, max=1000.0, help="How much it turns away from unrelated prompts.")
    ] = 1.0,
    weight: Annotated[
        float, typer.Option(min=0.1, max=10.0, help="Factor on the LoRA afterwards, which is weaker by then.")
    ] = 1.0,
    model: Annotated[str | None, typer.Option(help="The base.", show_default="what the LoRA was trained on")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Write a LoRA anew that leaves unrelated prompts alone: no training, a few hundred predictions."""
    from slipstream.cli.preserve import preserve_command, prompts_in
    from slipstream.workflows.preserve import PreserveRequest

    request = PreserveRequest(
        lora, out, prompts_in(prompts_file), prompts_in(unrelated_file), model, amount, weight, device
    )
    preserve_command(request, as_json=as_json)


@app.command()
def caption(
    dataset: Annotated[Path, typer.Argument(help="A folder of pictures.", show_default=False)],
    model: Annotated[
        str | None,
        typer.Option(help="A vision-language model: hub id or folder.", show_default="HuggingFaceTB/SmolVLM-Instruct"),
    ] = None,
    prompt: Annotated[
        str, typer.Option(help="sentence, tags, style (content alone), character, or your own instruction.")
    ] = "sentence",
    trigger_word: Annotated[str, typer.Option(help="A word that every caption shall hold.")] = "",
    overwrite: Annotated[str, typer.Option(help="`empty`: only where there is no caption; `all`.")] = "empty",
    max_tokens: Annotated[int, typer.Option(min=1, max=2048, help="The longest answer.")] = 160,
    batch_size: Annotated[int, typer.Option(min=1, max=256, help="Pictures at a time.")] = 4,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, bf16, fp16 or fp32.")] = "auto",
) -> None:
    """Write captions with a vision-language model; edit them after."""
    from slipstream.captioning.prompts import CUSTOM, PRESETS
    from slipstream.captioning.request import DEFAULT_MODEL, CaptionRequest
    from slipstream.cli.caption import caption_command, parse_overwrite

    known = prompt in {preset.name for preset in PRESETS}
    request = CaptionRequest(
        dataset, model or DEFAULT_MODEL, prompt if known else CUSTOM, "" if known else prompt, trigger_word,
        parse_overwrite(overwrite), max_tokens, batch_size, device=device, dtype=dtype,
    )  # fmt: skip
    raise typer.Exit(caption_command(request))


app.command()(experiment_app.ab)
app.command()(experiment_app.compare)


@dataset_app.command("check")
def dataset_check(
    target: Annotated[Path, typer.Argument(help="A folder of pictures, or a config file.", show_default=False)],
    overrides: Overrides = None,
    resolutions: Annotated[str, typer.Option(help="For a folder: resolutions to sort it into.")] = "512,768,1024",
    trigger_word: Annotated[str, typer.Option(help="For a folder: the trigger word.")] = "",
    default_caption: Annotated[str, typer.Option(help="For a folder: caption of pictures without a text file.")] = "",
    kind: Annotated[
        str | None, typer.Option(help="Advice for a `character` or a `style`.", show_default="for any LoRA")
    ] = None,
    html: Annotated[Path, typer.Option(help="Where the page with thumbnails goes.")] = Path("dataset_check.html"),
    no_html: Annotated[bool, typer.Option("--no-html", help="Write no page.")] = False,
    as_json: Annotated[
        Path | None, typer.Option("--json", help="Write the report as JSON too; `-` prints it.", show_default=False)
    ] = None,
) -> None:
    """Check pictures and captions: copies, blur, tones, what is broken or missing, and how it falls into buckets."""
    from slipstream.cli.inspection import CheckOptions, check_command

    options = CheckOptions(resolutions, trigger_word, default_caption, kind, None if no_html else html, as_json)
    check_command(target, overrides or [], options)


@app.command()
def rank(
    run: RunFolder,
    prompts: Annotated[
        int, typer.Option(min=2, max=64, help="Prompts that ask for the concept; two thirds of each other kind.")
    ] = 12,
    seeds: Annotated[int, typer.Option(min=2, max=16, help="Seeds of the prompts that ask for the concept.")] = 2,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    page: Annotated[
        Path | None, typer.Option("--out", help="Where the page goes.", show_default="ranking.html in the run folder")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Recommend a checkpoint and a LoRA weight: concept strength against drift, leak and overfitting."""
    from slipstream.cli.rank import RankOptions, rank_command

    rank_command(run, RankOptions(prompts, seeds, device, page, as_json))


@app.command()
def models() -> None:
    """List the models a config can name and whether they are on this machine."""
    from slipstream.cli.inspection import models_command

    models_command()


@app.command()
def presets(
    name: Annotated[str | None, typer.Argument(help="Print this preset's YAML.", show_default=False)] = None,
) -> None:
    """List starting points, or print one: `slipstream presets turbo_style > my_style.yaml`."""
    from slipstream.cli.inspection import presets_command

    presets_command(name)


@app.command()
def explain(
    setting: Annotated[
        str | None, typer.Argument(help="A panel or a setting, such as training.timestep_type.", show_default=False)
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the whole reference (docs/settings.md).")] = False,
) -> None:
    """Explain a setting: what it does, its formula and default, when to change it, what can go wrong."""
    from slipstream.cli.explain import explain_command

    explain_command(setting, as_markdown=markdown)


Host = Annotated[str, typer.Option(help="The address to listen on; others than this machine's need a token.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")]
Home = Annotated[
    Path | None,
    typer.Option(help="The studio's own folder.", show_default="SLIPSTREAM_HOME, else ~/.slipstream"),
]
Runs = Annotated[Path, typer.Option(help="Where runs lie.")]
Datasets = Annotated[Path, typer.Option(help="Where datasets lie.")]
Loras = Annotated[Path, typer.Option(help="Where LoRAs lie that the playground offers beside those of runs.")]
Token = Annotated[
    str | None,
    typer.Option(help="What to log in with.", show_default="SLIPSTREAM_TOKEN, else made where one is needed"),
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(help="A name under which a proxy serves the studio (repeatable).", show_default=False),
]
Database = Annotated[
    str | None, typer.Option(help="The queue's database.", show_default="SLIPSTREAM_DATABASE, else SQLite in --home")
]
Supervise = Annotated[bool, typer.Option(help="Start a supervisor for the queue; without, another one works it off.")]


@app.command("serve", help="Serve the studio without opening a browser, for a machine without a screen.")
@app.command("studio", help="Open the studio, the web app: datasets, jobs, a queue, live runs, and a playground.")
def studio(
    context: typer.Context,
    host: Host = "127.0.0.1",
    port: Port = 8420,
    home: Home = None,
    runs: Runs = Path("runs"),
    datasets: Datasets = Path("datasets"),
    loras: Loras = Path("loras"),
    token: Token = None,
    allow_host: AllowHost = None,
    database: Database = None,
    supervise: Supervise = True,
    browser: Annotated[
        bool | None, typer.Option(help="Open the browser.", show_default="`studio` does, `serve` does not")
    ] = None,
) -> None:
    """The studio, under two names."""
    from slipstream.cli.studio import StudioOptions, studio_command

    names = tuple(allow_host or ())
    opens = context.info_name == "studio" if browser is None else browser
    studio_command(StudioOptions(host, port, home, runs, datasets, loras, token, names, database, supervise, opens))


def main() -> None:
    """Entry point: a user's mistake is one message, never a traceback."""
    prepare_environment()
    try:
        app()
    except SlipstreamError as error:
        from slipstream.cli.screen import show_error

        show_error(error)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
