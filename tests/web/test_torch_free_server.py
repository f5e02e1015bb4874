"""A server that answers pages and every address of its API has loaded no torch and no model library."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
from pathlib import Path
from fastapi.testclient import TestClient
from slipstream.web.app import make_app
from slipstream.web.settings import StudioSettings

base = Path({base!r})
for name in ("runs", "datasets"):
    (base / name).mkdir()
app = make_app(StudioSettings(home=base / "home", runs_dir=base / "runs", datasets_dir=base / "datasets"))
with TestClient(app, base_url="http://localhost") as client:
    from slipstream.web.pages.all import PAGES
    answers = {{page.path: client.get(page.path).status_code for page in PAGES}}
    assert set(answers.values()) == {{200}}, answers
    paths = client.get("/api/openapi.json").json()["paths"]
    gets = [path for path, methods in paths.items() if "get" in methods and "{{" not in path]
    assert len(gets) >= 2
    for path in gets:
        assert client.get(path).status_code < 500, path
print(*[name for name in ("torch", "diffusers", "transformers", "bitsandbytes") if name in sys.modules])
"""


def test_the_server_loads_no_torch(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(base=str(tmp_path))], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
