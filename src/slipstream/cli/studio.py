"""`studio` and `serve`: the web studio."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape

from slipstream.cli.screen import out


@dataclass(frozen=True)
class StudioOptions:
    """What `studio` and `serve` are told."""

    host: str
    port: int
    home: Path | None
    runs: Path
    datasets: Path
    loras: Path
    token: str | None
    allowed_hosts: tuple[str, ...]
    database: str | None
    supervises: bool
    opens_browser: bool


def studio_command(options: StudioOptions) -> None:
    """Serve the studio until Ctrl+C."""
    from slipstream.jobs.places import DATABASE_VARIABLE, home_dir
    from slipstream.web.security.secrets import make_private, require_strong, stored_token
    from slipstream.web.serve import open_browser, serve
    from slipstream.web.settings import TOKEN_VARIABLE, StudioSettings, is_loopback

    home = (options.home or home_dir()).expanduser().resolve()
    make_private(home)
    token = options.token or os.environ.get(TOKEN_VARIABLE)
    if token is not None:
        token = require_strong(token, "--token")
    elif not is_loopback(options.host):
        token = stored_token(home)
    settings = StudioSettings(
        home=home,
        runs_dir=options.runs.expanduser().resolve(),
        datasets_dir=options.datasets.expanduser().resolve(),
        loras_dir=options.loras.expanduser().resolve(),
        host=options.host,
        port=options.port,
        token=token,
        allowed_hosts=options.allowed_hosts,
        database_url=options.database or os.environ.get(DATABASE_VARIABLE),
    )

    def ready(address: str) -> None:
        out.print(f"the studio is at [bold]{escape(address)}[/bold]  (Ctrl+C ends it; trainings go on)")
        if token is not None:
            where = "--token" if options.token else f"${TOKEN_VARIABLE}" if TOKEN_VARIABLE in os.environ else "token"
            place = str(home / "token") if where == "token" else where
            out.print(f"log in with the token in {escape(place)}, or open {escape(address)}/login#token=TOKEN")
        if options.opens_browser:
            open_browser(address)

    serve(settings, on_ready=ready, supervises=options.supervises)
