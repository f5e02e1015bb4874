"""A large picture with what lies over it: the part that a bucket keeps, and its mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from nicegui import events, ui

from slipstream.core.errors import SlipstreamError
from slipstream.data.settings import Crop, CropRule
from slipstream.web.pages.dataset.shown import Shown
from slipstream.web.parts.notices import tell_error, told
from slipstream.web.parts.say import say
from slipstream.web.services.dataset_crops import JOB_SEED, BucketView, bucket_views
from slipstream.web.services.dataset_masks import mask_of, masks_folder, remove_mask, write_mask
from slipstream.web.services.dataset_notes import change_notes
from slipstream.web.services.datasets import find_picture

CROPS: tuple[Crop, ...] = ("center", "top", "random")
_DRAWN = 4


@dataclass(frozen=True)
class Overlays:
    """What lies over the picture: crops are drawn into `crops`, the mask is there or not."""

    crops: ui.element
    mask: ui.element | None


def picture_view(shown: Shown, file: str) -> Overlays:
    """The picture, as large as fits."""
    path = shown.folder / file
    size = shown.studio.sizes.of(path)
    ratio = size.width / size.height if size is not None else 1.0
    stamp = f"{path.stat().st_mtime_ns:x}" if path.is_file() else "0"
    query = urlencode({"file": file, "v": stamp})
    mask = mask_of(shown.folder, file)
    with (
        ui.element("div").classes("s-stage"),
        ui.element("div").classes("s-stage-picture").style(f"--ratio: {ratio:.5f}"),
    ):
        ui.element("img").props(f'src="{shown.api}/picture?{query}" alt="" decoding="async" draggable="false"')
        veil = None
        if mask is not None:
            source = f"{shown.api}/mask?{urlencode({'file': file, 'v': f'{mask.stat().st_mtime_ns:x}'})}"
            veil = ui.element("img").props(f'src="{source}" alt="{say("editor.mask")}"').classes("s-stage-mask")
        crops = ui.element("div").classes("s-stage-crops").props('aria-hidden="true"')
    return Overlays(crops, veil)


def side_tools(shown: Shown, file: str, overlays: Overlays, refresh: Callable[[], None]) -> None:
    """Crops and masks of the picture."""
    with ui.expansion(say("editor.crops"), icon="crop").classes("s-tool") as crops:
        _crops(shown, file, overlays)
    crops.on_value_change(lambda event: overlays.crops.set_visibility(bool(event.value)))
    overlays.crops.set_visibility(False)
    with ui.expansion(say("editor.mask"), icon="contrast", value=overlays.mask is not None).classes("s-tool"):
        _mask(shown, file, overlays, refresh)


def _crops(shown: Shown, file: str, overlays: Overlays) -> None:
    path = find_picture(shown.folder, file)
    size = shown.studio.sizes.of(path)
    if size is None:
        ui.label(say("editor.unreadable")).classes("s-note")
        return
    ui.label(say("editor.crops_text", width=size.width, height=size.height)).classes("s-note")

    def rule_changed(event: events.ValueChangeEventArguments) -> None:
        with told():
            shown.notes = change_notes(shown.folder, shown.notes, crop=event.value)
            table.refresh()

    rules = {rule: say(f"editor.crop_{rule}") for rule in CROPS}
    ui.select(rules, value=shown.notes.crop, label=say("editor.crop"), on_change=rule_changed).classes("s-field").props(
        "outlined dense"
    )

    @ui.refreshable
    def table() -> None:
        rule = CropRule(shown.notes.crop, _DRAWN if shown.notes.crop == "random" else 1, seed=JOB_SEED)
        views = bucket_views(path, size, shown.notes.resolutions, rule)
        if not views:
            ui.label(say("editor.too_small")).classes("s-note")
            return
        for view in views:
            text = say("editor.bucket", resolution=view.resolution, width=view.width, height=view.height,
                       percent=f"{100 * view.lost:.1f}")  # fmt: skip
            ui.button(text, on_click=lambda view=view: draw(overlays.crops, view)).props(
                "flat dense no-caps align=left"
            ).classes("s-bucket-button")
        draw(overlays.crops, views[-1])

    table()


def draw(layer: ui.element, view: BucketView) -> None:
    """Show what a bucket keeps."""
    layer.clear()
    with layer:
        for box in view.boxes:
            ui.element("div").classes("s-crop" if len(view.boxes) == 1 else "s-crop s-crop-many").style(_placed(box))


def _placed(box: Sequence[float]) -> str:
    left, top, right, bottom = (100 * share for share in box)
    return f"left: {left:.3f}%; top: {top:.3f}%; width: {right - left:.3f}%; height: {bottom - top:.3f}%"


def _mask(shown: Shown, file: str, overlays: Overlays, refresh: Callable[[], None]) -> None:
    def remove() -> None:
        with told():
            remove_mask(shown.folder, file)
            shown.reload()
            refresh()

    async def sent(event: events.UploadEventArguments) -> None:
        data = await event.file.read()
        try:
            write_mask(shown.folder, file, data)
        except SlipstreamError as error:
            tell_error(error)
            return
        shown.reload()
        refresh()

    ui.label(say("editor.mask_text", folder=str(masks_folder(shown.folder)))).classes("s-note")
    if overlays.mask is not None:
        veil = overlays.mask
        ui.switch(say("editor.mask_show"), value=True, on_change=lambda event: veil.set_visibility(bool(event.value)))
        ui.button(say("editor.mask_remove"), icon="delete", on_click=remove).props("flat dense no-caps")
    upload = ui.upload(on_upload=sent, auto_upload=True, max_files=1, label=say("editor.mask_send"))
    upload.props('accept=".png,.jpg,.jpeg,.webp"').classes("s-hidden")
    ui.button(say("editor.mask_send"), icon="upload").props("outline dense no-caps").on(
        "click", js_handler=f"(event) => getElement({upload.id}).$refs.qRef.pickFiles(event)"
    )
