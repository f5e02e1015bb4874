"""A PostgreSQL server of the tests' own, in a temporary folder, on a socket there; gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

UNPRIVILEGED = ("postgres", "nobody")
"""The server refuses to run as root; one of these does it then."""


def _binary(name: str) -> str:
    found = shutil.which(name)
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if not found and not installed:
        pytest.skip(f"no PostgreSQL server is installed ({name} is missing)")
    return found or str(installed[-1])


def _account() -> pwd.struct_passwd | None:
    """Whose processes the server's are; None: ours."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    names = [name for name in UNPRIVILEGED if name in known]
    if not names:
        pytest.skip(f"PostgreSQL does not run as root, and there is no account of {UNPRIVILEGED}")
    return known[names[0]]


@contextmanager
def server() -> Iterator[str]:
    """Start one; yields the URL of its `postgres` database. Flushing is off: the tests kill clients, not the server."""
    initdb, pg_ctl, account = _binary("initdb"), _binary("pg_ctl"), _account()
    folder = Path(tempfile.mkdtemp(prefix="slipstream-pg-"))
    who = {} if account is None else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    def run(*command: str) -> None:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=60, env={**os.environ, "LC_ALL": "C"}, **who
        )
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        if account is not None:
            os.chown(folder, account.pw_uid, account.pw_gid)
        data = str(folder / "data")
        run(initdb, "-D", data, "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        options = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=60"
        run(pg_ctl, "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "start")
        try:
            yield f"postgresql://tester@/postgres?host={folder}"
        finally:
            run(pg_ctl, "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
