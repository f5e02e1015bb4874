"""Changing a setting changes what it should in a whole training, and nothing else; nonsense is refused.

The table is in `setting_effects.py`; a setting without an entry fails here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from observed import CONFIG, Facets, changed, observe, write_pictures
from setting_effects import EFFECTS, FREE, Effect

from slipstream.config.fields import settings_of
from slipstream.config.run_config import RunConfig, load_config
from slipstream.core.errors import ConfigError
from slipstream.models.z_image.resolve import TINY_ROOT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, their variations and the config that every entry starts from."""
    base = tmp_path_factory.mktemp("acts")
    write_pictures(base)
    (base / "config.yaml").write_text(CONFIG.format(output=base / "runs", data=base / "data"))
    return base


@pytest.fixture(scope="module")
def see(folder: Path) -> Callable[[tuple[str, ...]], Facets]:
    """A training with overrides, done once; they share one cache."""

    @cache
    def see(overrides: tuple[str, ...]) -> Facets:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SLIPSTREAM_CACHE", str(folder / "cache"))
            return observe(folder / "config.yaml", [placed(one, folder) for one in overrides], patch)

    return see


PLACES = {
    "OTHER_FOLDER": "other", "OTHER_PICTURES": "other_data", "SEE_THROUGH": "see_through", "OTHER_MASKS": "other_masks",
    "MASKS": "masks", "CAPTIONS": "captions.json", "PROMPTS": "prompts.txt",
}  # fmt: skip


ADAPTED = (
    "[attention.to_q, attention.to_k, attention.to_v, attention.to_out.0, feed_forward.w1, feed_forward.w2, "
    "feed_forward.w3, adaLN_modulation.0]"
)
"""The linears that the packaged training adapters have branches on."""


def placed(override: str, folder: Path) -> str:
    """Names of this test's folders filled in."""
    for name, place in PLACES.items():
        override = override.replace(name, str(folder / place))
    override = override.replace("ADAPTER_V1", str(TINY_ROOT / "adapters/training_adapter_v1.safetensors"))
    return override.replace("ADAPTED", ADAPTED).replace("TINY", str(TINY_ROOT))


def test_every_setting_has_an_entry_and_no_other():
    assert sorted(set(settings_of(RunConfig)) ^ set(EFFECTS)) == []


@pytest.mark.parametrize("path", sorted(EFFECTS))
def test_a_setting_changes_what_it_should_and_nothing_else(path: str, see) -> None:
    effect: Effect = EFFECTS[path]
    before = see(effect.given)
    after = see((*effect.given, *effect.beside, f"{path}={effect.value}"))
    assert changed(before, after) - FREE == effect.changes


@pytest.mark.parametrize("path", sorted(path for path, effect in EFFECTS.items() if effect.nonsense is not None))
def test_nonsense_is_refused_by_name(path: str, folder: Path) -> None:
    effect: Effect = EFFECTS[path]
    with pytest.raises(ConfigError) as refusal:
        load_config(folder / "config.yaml", [*effect.given, f"{path}={effect.nonsense}"])
    assert path.rpartition(".")[2] in str(refusal.value) or path.split(".")[-2] in str(refusal.value)
