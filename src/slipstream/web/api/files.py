"""Files as answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import FileResponse, Response

from slipstream.web.problems import missing

_PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind: {} for kind in sorted(set(_PICTURES.values()))}, "description": "The picture."}
}
DOWNLOAD: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {}}, "description": "The file."}
}


def picture_answer(request: Request, path: Path, *, kept: bool = False) -> Response:
    """A picture, or 304 where the browser has it already.

    Browsers ask each time whether it changed, which its time and size tell; with `kept` (the address changes with
    the content, `?v=`) they need not.

    Raises:
        RefusedError: it was removed meanwhile (404).
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise missing("such picture any more", where=path.name) from error
    headers = {
        "ETag": f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"',
        "Cache-Control": "private, max-age=604800, immutable" if kept else "private, no-cache",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    kind = _PICTURES.get(path.suffix.lower(), "application/octet-stream")
    return FileResponse(path, media_type=kind, headers=headers, stat_result=stat)


def download_answer(path: Path) -> FileResponse:
    """A file to save."""
    return FileResponse(path, media_type="application/octet-stream", filename=path.name)
