"""The report: one well-formed page that needs nothing else, whatever the run lacks."""

import ast
import base64
import io
import json
import random
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from fake_run import PROMPTS, draw_preview, manifest
from PIL import Image

from slipstream.reports import html as report
from slipstream.reports.facts import duration, phases
from slipstream.reports.html import write_report
from slipstream.reports.usage import usage

VOID = {"meta", "img", "input", "br", "link", "hr"}


class Page(HTMLParser):
    """Checks nesting, and collects tags and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def found(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def sections(self) -> set[str]:
        return {attrs["id"] for attrs in self.found("section") if "id" in attrs}


def page_of(run) -> Page:
    assert write_report(run) == run.report
    return Page(run.report.read_text(encoding="utf-8"))


def test_a_finished_run_shows_everything(full_run):
    page = page_of(full_run)
    assert page.sections == {"previews", "curves", "use", "dataset", "timings", "choices", "settings"}
    for expected in (
        "my_style", "finished", "Z-Image Turbo", "removed in previews", "240 of 240 modules matched",
        "11.25 GiB", "3.0 MiB", "broken.png: cannot be read", "3 captions are empty", "640 × 400", "f00d",
        "2.11.0", "ComfyUI/models/loras", "42,500,000", "model: org/model (Z-Image Turbo)",
        "name: my_style # <b>",
    ):  # fmt: skip
        assert expected in page.text, expected


def test_the_figures_are_those_of_the_files(full_run):
    text = page_of(full_run).text
    assert "Updates 100 of 100" in text
    assert "Images 24 48 examples" in text
    # 30 s + 20 s + 100 updates of 2 s each, more than the 120 s that the last worker noted
    assert "Time 4 min 10 s" in text
    assert "training 3 min 20 s 80.0 %" in text
    # a moving average of 0.2 + exp(-t / 20) over 5 updates lags: 0.2 + exp(-5) * 0.2 / (1 - 0.8 * exp(0.05))
    assert "Final loss 0.2085" in text


def test_every_preview_is_embedded_once_in_its_cell(full_run):
    cells = [attrs for attrs in page_of(full_run).found("img") if "data-row" in attrs]
    assert {(cell["data-step"], cell["data-column"]) for cell in cells} == {
        (s, p) for s in ("0", "50", "100") for p in "01"
    }
    for cell in cells:
        head, data = cell["src"].split(",")
        assert head == "data:image/webp;base64"
        with (
            Image.open(io.BytesIO(base64.b64decode(data))) as picture,
            Image.open(full_run.path / cell["data-file"]) as original,
        ):
            assert picture.size == original.size
            shown, drawn = picture.convert("RGB").getpixel((9, 9)), original.getpixel((9, 9))
            assert max(abs(a - b) for a, b in zip(shown, drawn, strict=True)) < 12


def test_the_page_loads_nothing_from_elsewhere(full_run):
    page = page_of(full_run)
    assert not page.found("link")
    assert all("src" not in attrs for attrs in page.found("script"))
    sources = [attrs["src"] for attrs in page.found("img") if "src" in attrs]
    assert all(source.startswith("data:") for source in sources)
    assert "url(" not in full_run.report.read_text()
    assert "@import" not in full_run.report.read_text()


def test_text_of_users_is_escaped(full_run):
    text = full_run.report.read_text() if write_report(full_run) else ""
    assert PROMPTS[0] not in text
    assert "<castle>" not in text
    assert any(attrs.get("title") == PROMPTS[0] for attrs in Page(text).found("th"))


def test_an_empty_folder_still_gives_a_page(empty_run):
    page = page_of(empty_run)
    assert page.sections == set()
    assert "my_style" in page.text


@pytest.mark.parametrize(
    ("missing", "section"),
    [
        ("manifest", "dataset"),
        ("metrics", "curves"),
        ("timings", None),
        ("progress", None),
        ("config", None),
        ("lora", None),
    ],
)
def test_any_file_may_be_missing(full_run, missing, section):
    getattr(full_run, missing).unlink()
    page = page_of(full_run)
    assert section not in page.sections
    assert "previews" in page.sections


def test_half_written_files_do_not_stop_the_report(full_run):
    for name in ("manifest", "progress", "timings", "metrics"):
        path = getattr(full_run, name)
        path.write_text(path.read_text()[: len(path.read_text()) // 2])
    full_run.preview_image(0, 0).write_bytes(b"\x89PNG")
    page = page_of(full_run)
    assert {"previews", "curves"} <= page.sections
    assert any(attrs.get("class") == "empty" for attrs in page.found("div"))


def test_a_failed_run_tells_why_and_a_stopped_one_how_to_go_on(full_run):
    full_run.progress.write_text(json.dumps({"state": "failed", "message": "loss is <nan> at step 7", "steps": 9}))
    assert "loss is <nan> at step 7" in page_of(full_run).text
    full_run.progress.write_text(json.dumps({"state": "stopped", "step": 7, "steps": 9}))
    assert "slipstream resume runs/my_style" in page_of(full_run).text


def test_runs_without_an_adapter_say_so(full_run):
    full_run.manifest.write_text(json.dumps({**manifest(), "training_adapter": None}))
    text = page_of(full_run).text
    assert "without a training adapter" in text
    assert "removed" not in text


def test_only_turbo_is_warned_of_a_missing_adapter(full_run):
    label = "Z-Image Turbo (w/ Training Adapter)"
    for variant, warned in (("turbo", True), ("de_turbo", False), ("base", False)):
        model = {**manifest()["model"], "variant": variant, "label": label}
        full_run.manifest.write_text(json.dumps({**manifest(), "training_adapter": None, "model": model}))
        page = page_of(full_run)
        assert ("undoes Turbo's distillation" in page.text) == warned
        assert label not in page.text
        assert "Load no training adapter" not in page.text


def test_the_adapter_is_named_by_its_file(full_run):
    adapter = {**manifest()["training_adapter"], "source": "/home/anna/hub/snapshots/1f/adapter_v2.safetensors"}
    full_run.manifest.write_text(json.dumps({**manifest(), "training_adapter": adapter}))
    assert "adapter_v2.safetensors · 240 of 240" in page_of(full_run).text
    assert "/home/anna" not in full_run.report.read_text()


def test_a_stopped_run_is_used_through_its_newest_checkpoint(full_run):
    full_run.lora.unlink()
    assert "use" not in page_of(full_run).sections
    full_run.checkpoints.mkdir()
    for step in (900, 1000):
        (full_run.checkpoints / f"my_style_{step:09d}.safetensors").write_bytes(b"1")
    text = page_of(full_run).text
    assert 'load_lora_weights("checkpoints/my_style_000001000.safetensors")' in text
    assert "Copy checkpoints/my_style_000001000.safetensors to" in text


def test_a_lora_of_a_tiny_model_is_not_sent_to_comfyui(full_run):
    model = {**manifest()["model"], "name": "tiny/turbo"}
    full_run.manifest.write_text(json.dumps({**manifest(), "model": model}))
    draw_preview(full_run, 100, 0)
    text = page_of(full_run).text
    assert "LoraLoaderModelOnly" not in text
    command = f"slipstream sample '{PROMPTS[0]}' --model tiny/turbo --lora runs/my_style/my_style.safetensors"
    assert command in text


def test_examples_are_explained_only_where_they_differ_from_images(full_run):
    data = {**manifest()["dataset"], "num_examples": 24}
    full_run.manifest.write_text(json.dumps({**manifest(), "dataset": data}))
    text = page_of(full_run).text
    assert "Images 24 in 2 buckets" in text
    assert "24 examples" not in text


@pytest.mark.parametrize(("updates", "words"), [(1, "of the last update"), (30, "mean of about the last 5")])
def test_the_final_loss_of_a_short_run_reads_well(full_run, updates, words):
    rows = [{"step": step, "loss": 0.5} for step in range(1, updates + 1)]
    full_run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = page_of(full_run).text
    assert f"Final loss 0.5000 {words}" in text


def test_the_size_stays_within_the_budget_and_the_newest_stay_in(full_run, monkeypatch):
    monkeypatch.setattr(report, "PICTURE_BUDGET_BYTES", 60_000)
    noise = random.Random(0)
    for step in (0, 50, 100):
        picture = Image.frombytes("RGB", (200, 200), noise.randbytes(200 * 200 * 3))
        picture.save(full_run.preview_image(step, 0))
    cells = [attrs for attrs in page_of(full_run).found("img") if "data-row" in attrs]
    assert len(cells) == 6
    assert sum(len(cell["src"]) for cell in cells) <= 60_000


def test_long_runs_are_thinned_and_say_so(empty_run):
    for step in range(0, 30 * 10, 10):
        draw_preview(empty_run, step, 0, size=(16, 16))
    page = page_of(empty_run)
    steps = [int(attrs["data-step"]) for attrs in page.found("img") if "data-row" in attrs]
    assert (len(steps), steps[0], steps[-1]) == (24, 0, 290)
    assert "24 of 30 checkpoints" in page.text


def code_of(changes: dict, drawn: dict | None = None) -> str:
    found = usage("my_style.safetensors", manifest() | changes, drawn or {})
    assert found is not None
    ast.parse(found.code)
    return found.code


def test_the_code_draws_the_last_preview_again(full_run):
    page = page_of(full_run)
    assert 'prompt="foxy, a <castle> & a moat"' in page.text
    assert 'torch.Generator("cpu").manual_seed(1000)' in page.text
    assert 'from_pretrained("org/model", revision="abc", dtype=torch.bfloat16)' in page.text
    assert "num_inference_steps=8" in page.text
    assert "guidance_scale=0.0" in page.text


def test_guidance_is_given_in_each_programs_own_convention():
    sample = {**manifest()["sample"], "steps": 25, "guidance_scale": 3.5}
    found = usage("a.safetensors", manifest() | {"sample": sample}, {"negative_prompt": 'say "no"'})
    assert found is not None
    assert (found.steps, found.cfg) == (25, 3.5)
    assert "guidance_scale=2.5" in found.code
    assert r'negative_prompt="say \"no\""' in found.code
    assert "negative_prompt" not in code_of({}, {"negative_prompt": "no"})


def test_parts_from_another_model_are_loaded_from_there():
    origins = {
        **manifest()["model"]["origins"],
        "transformer": "tiny/de-turbo",
        "text_encoder": "tiny/turbo",
        "vae": "tiny/turbo",
    }
    origins |= {"scheduler": "tiny/turbo", "tokenizer": "tiny/turbo"}
    code = code_of({"model": {"name": "tiny/de-turbo", "origins": origins}})
    assert 'ZImageTransformer2DModel.from_pretrained(str(tiny / "de_turbo"), subfolder="transformer"' in code
    assert 'ZImagePipeline.from_pretrained(str(tiny / "turbo"), transformer=transformer' in code
    assert "cuda" not in code


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("/models/z.safetensors", "/models/z.safetensors"),
        ("org/name/deep/z.safetensors", "https://huggingface.co/org/name/blob/main/deep/z.safetensors"),
        ("org/name/z.safetensors@v2", "https://huggingface.co/org/name/blob/v2/z.safetensors"),
    ],
)
def test_a_transformer_in_one_file_is_loaded_as_such(name, there):
    origins = dict.fromkeys(("scheduler", "text_encoder", "tokenizer", "vae"), "org/turbo@abc") | {"transformer": name}
    code = code_of({"model": {"name": name, "origins": origins}})
    arguments = f'"{there}", config="org/turbo", subfolder="transformer", dtype=torch.bfloat16'
    assert f"ZImageTransformer2DModel.from_single_file({arguments})" in code
    assert 'from_pretrained("org/turbo", revision="abc", transformer=transformer' in code


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.42, "0.42 s"),
        (12.34, "12.3 s"),
        (59.97, "1 min 00 s"),
        (245, "4 min 05 s"),
        (11520, "3 h 12 min"),
        (7199.9, "2 h 00 min"),
    ],
)
def test_durations_read_well(seconds, words):
    assert duration(seconds) == words


def test_shares_of_the_time_add_up():
    shares = phases({"a": 1.0, "b": 3.0, "broken": None, "none": 0.0}, [])
    assert [(phase.name, phase.percent) for phase in shares] == [("a", 25.0), ("b", 75.0)]


def test_reports_never_load_torch():
    rooms = "slipstream.reports.html, slipstream.reports.contact_sheet"
    code = f"import sys, {rooms}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
