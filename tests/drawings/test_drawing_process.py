"""The process that draws, end to end on the tiny family."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from drawing_rooms import ask, kill, until, wanted
from PIL import Image

from slipstream.config.prompts import parse_prompt
from slipstream.drawings.progress import cancel, is_alive, last_process, living_process
from slipstream.drawings.request import LoraUse
from slipstream.drawings.room import Drawing, Room, remove, waiting
from slipstream.previews.png import read_png_metadata
from slipstream.workflows.sample import SampleRequest, sample


def pixels(path: Path) -> bytes:
    return Image.open(path).tobytes()


def sampled(out: Path, *uses: LoraUse, prompts: tuple[str, ...] = ("a fox",), seed: int = 42) -> list[bytes]:
    """What `slipstream sample` draws, in files byte by byte."""
    request = SampleRequest(
        model="tiny/turbo", extras_from="tiny/turbo", prompts=tuple(parse_prompt(text, "test") for text in prompts),
        out=out, loras=uses, width=64, height=64, steps=2, seed=seed, walk_seed=True, device="cpu",
    )  # fmt: skip
    return [picture.path.read_bytes() for picture in sample(request, lambda line: None)]


def files(drawing: Drawing, *numbers: int) -> list[bytes]:
    return [drawing.picture(number).read_bytes() for number in numbers]


def test_it_keeps_the_model_draws_what_sample_draws_and_loses_nothing_when_killed(
    room: Room, make_lora: Callable[..., Path], tmp_path: Path
):
    felt, silk, wide = make_lora("felt"), make_lora("silk", seed=2), make_lora("wide", seed=3, rank=4)
    first = ask(room, wanted(LoraUse(felt, 0.8)), wanted(LoraUse(felt, 0.8), seed=43), wanted(LoraUse(felt, 0)))
    began = until(room, first)
    assert began.state == "finished", began.message
    pid = last_process(room).pid

    second = ask(room, wanted(LoraUse(silk, 1.5)), wanted(LoraUse(wide), LoraUse(felt, -0.5)), wanted())
    then = until(room, second)
    assert then.state == "finished", then.message
    assert then.loading_seconds < 0.3 * began.loading_seconds
    assert then.seconds < began.seconds
    assert pixels(first.picture(2)) == pixels(second.picture(2))
    assert pixels(first.picture(0)) != pixels(first.picture(2))
    assert read_png_metadata(second.picture(1))["lora"] == "wide.safetensors:1, felt.safetensors:-0.5"

    failed = until(room, ask(room, wanted(LoraUse(tmp_path / "gone.safetensors"))))
    assert failed.state == "failed"
    assert "there is no such file" in failed.message

    many = [wanted(seed=seed, steps=10) for seed in range(16)]
    deleted, cancelled = ask(room, *many), ask(room, *many)
    until(room, deleted, "drawing")
    remove(room, deleted)
    until(room, cancelled, "drawing")
    cancel(room, cancelled)
    assert until(room, cancelled).state == "stopped"

    long, waits = ask(room, *many), ask(room, wanted(LoraUse(felt, 0.8)))
    while not long.picture(0).exists():
        time.sleep(0.01)
    assert living_process(room).pid == pid
    kill(room)
    died = until(room, long)
    assert died.state == "failed"
    assert "fix: draw again" in died.message
    drawn = [path for path in long.path.glob("*.png") if Image.open(path).size == (64, 64)]
    assert 0 < len(drawn) < 16
    assert waiting(room) == [waits]

    again = ask(room, wanted(LoraUse(felt, 0.8)))
    assert until(room, again).state == until(room, waits).state == "finished"
    assert living_process(room).pid != pid
    assert "killed (signal 9)" in until(room, long).message
    room.leave.touch()
    while is_alive(room):
        time.sleep(0.01)

    assert files(first, 0, 1) == sampled(tmp_path / "felt", LoraUse(felt, 0.8), prompts=("a fox", "a fox"))
    assert files(second, 1) == sampled(tmp_path / "two", LoraUse(wide), LoraUse(felt, -0.5))
    assert files(waits, 0) == files(again, 0) == sampled(tmp_path / "alone", LoraUse(felt, 0.8))
