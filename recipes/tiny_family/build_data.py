"""Fetch the emoji packages, rasterise them to 128x128 RGBA, and pack them into one zip of lossless WebP.

    python recipes/tiny_family/build_data.py recipes/tiny_family/build/emoji.zip

Needs npm (to fetch the packages) and `pip install resvg-py`.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import subprocess
import tarfile
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from PIL import Image
from sources import ART_SETS, DROPPED_GROUPS, NAMES_PACKAGE, SIZE, ArtSet

GENDERED = re.compile(r"^(man|woman|men|women)\b|: (man|woman|men|women)\b|\b(man|woman) (in|with)\b")


def slug(label: str) -> str:
    """`Dragon’s face` -> `dragons-face`, as the icon packages name things."""
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"[’'.]", "", label.lower())).strip("-")


def fetch(spec: str, folder: Path, member: str) -> Any:
    """Download one npm package and return a JSON file of it."""
    packed = subprocess.run(
        ["npm", "pack", "--silent", spec], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()
    with tarfile.open(folder / packed) as archive:
        handle = archive.extractfile(f"package/{member}")
        assert handle is not None
        return json.load(handle)


def concept_names(emoji: list[dict[str, Any]]) -> list[str]:
    """Names without symbols, flags, components and gender variants."""
    kept = [e["label"].lower() for e in emoji if e.get("group") is not None and e["group"] not in DROPPED_GROUPS]
    return [name for name in kept if not GENDERED.search(name)]


def icon_svg(icons: dict[str, Any], key: str) -> str | None:
    """A complete SVG document of one icon, following an alias."""
    alias = icons.get("aliases", {}).get(key)
    if alias is not None and set(alias) == {"parent"}:
        return icon_svg(icons, alias["parent"])
    icon = icons["icons"].get(key)
    if icon is None:
        return None
    width = icon.get("width", icons.get("width", 16))
    height = icon.get("height", icons.get("height", 16))
    left, top = icon.get("left", 0), icon.get("top", 0)
    side = max(width, height)
    left, top = left - (side - width) / 2, top - (side - height) / 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{SIZE}" height="{SIZE}" viewBox="{left} {top} {side} {side}">{icon["body"]}</svg>'
    ).replace("currentColor", "#202124")


def rasterise(svg: str) -> bytes:
    """SVG to lossless WebP bytes (RGBA, 128x128)."""
    import resvg_py

    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=SIZE, height=SIZE))
    image = Image.open(io.BytesIO(png)).convert("RGBA")
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True, quality=80, method=4)
    return buffer.getvalue()


def set_images(art: ArtSet, icons: dict[str, Any], names: list[str]) -> dict[str, bytes]:
    """{concept name: WebP bytes} of the concepts this set draws."""
    keys = {key.replace("-", ""): key for key in (*icons["icons"], *icons.get("aliases", {}))}
    jobs = {name: icon_svg(icons, keys.get(slug(name).replace("-", ""), "")) for name in names}
    drawn = {name: svg for name, svg in jobs.items() if svg is not None}
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(drawn, pool.map(rasterise, drawn.values()), strict=True))


def main() -> None:
    """Build the zip."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    output: Path = parser.parse_args().output
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, zipfile.ZipFile(output, "w", zipfile.ZIP_STORED) as archive:
        folder = Path(temporary)
        names = concept_names(fetch(NAMES_PACKAGE, folder, "en/data.json"))
        index: dict[str, list[str]] = {}
        for art in ART_SETS:
            images = set_images(art, fetch(art.spec, folder, "icons.json"), names)
            index[art.style] = list(images)
            for name, data in images.items():
                archive.writestr(f"{art.style}/{slug(name)}.webp", data)
            print(f"{art.style}: {len(images)} of {len(names)} concepts, {sum(map(len, images.values())) / 1e6:.1f} MB")
        archive.writestr("index.json", json.dumps(index))
    print(f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
