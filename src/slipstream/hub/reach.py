"""Whether the Hugging Face hub can be reached, found out within a few seconds."""

from __future__ import annotations

import threading
from typing import Literal

Answer = Literal["answers", "unreachable", "silent"]


def ask(seconds: float) -> Answer:
    """Ask the hub anything: it answers (a refusal is an answer), the way to it is closed, or nothing comes back.

    Its client waits without end, and where a firewall swallows everything the system gives up after two minutes.
    """
    from huggingface_hub import constants, get_session
    from huggingface_hub.errors import HTTPError

    found: list[Answer] = []

    def work() -> None:
        try:
            get_session().head(constants.ENDPOINT)
        except (HTTPError, OSError):
            found.append("unreachable")
        else:
            found.append("answers")

    # in a thread, because no limit of the client covers looking up a name and trying one address after the other
    asking = threading.Thread(target=work, name="hub", daemon=True)
    asking.start()
    asking.join(seconds)
    return found[0] if found else "silent"
