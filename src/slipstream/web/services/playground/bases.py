"""Which bases may be drawn with: what everybody knows, what the hub has, and what the runs were trained on."""

from __future__ import annotations

import re
from pathlib import Path

from slipstream.config.variants import VARIANTS, extras_for, is_tiny, tiny_name, variant_of
from slipstream.drawings.request import Base
from slipstream.web.problems import RefusedError
from slipstream.web.services.playground.form import DrawingForm
from slipstream.web.services.playground.loras import base_of_run, runs_with_loras
from slipstream.web.services.runs import find_run

_HUB_NAME = r"[A-Za-z0-9][\w.-]{0,95}"
_ON_HUB = re.compile(rf"{_HUB_NAME}/{_HUB_NAME}(/[\w./-]{{1,150}}\.safetensors)?(@[\w./-]{{1,80}})?", re.ASCII)


def known_bases() -> list[str]:
    """Bases that everybody knows: the real ones, then the tiny ones."""
    return [*(facts.default_repo for facts in VARIANTS.values()), *(tiny_name(variant) for variant in VARIANTS)]


def base_of(form: DrawingForm, runs_dir: Path) -> Base:
    """The base that a form asks for.

    Raises:
        RefusedError: it is a path that no run was trained on (422).
    """
    variant = variant_asked(form)
    for name in (form.model, form.extras_from):
        if name is not None and not _is_public(name) and not _is_of_a_run(name, runs_dir):
            raise RefusedError(
                422, f"{name[:120]!r} is no hub id, and no run here was trained on it", where="model",
                fix="choose a base of the list, give a hub id such as Tongyi-MAI/Z-Image-Turbo, or use "
                "`slipstream sample`, which takes any path.",
            )  # fmt: skip
    extras = form.extras_from or extras_for(form.model, variant)
    return Base(form.model, extras, form.precision)


def variant_asked(form: DrawingForm) -> str:
    """The variant that a form's base is taken for."""
    return form.variant or variant_of(form.model)


def _is_public(name: str) -> bool:
    if is_tiny(name):
        return name in known_bases()
    return _ON_HUB.fullmatch(name) is not None and ".." not in name and not Path(name).exists()


def _is_of_a_run(name: str, runs_dir: Path) -> bool:
    for run in runs_with_loras(runs_dir):
        base = base_of_run(find_run(runs_dir, run))
        if base is not None and name in (base.model, base.extras_from):
            return True
    return False
