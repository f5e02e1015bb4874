"""What the parts of the New job page share: the draft, what is wrong with it, and who is told when it changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nicegui import Client, background_tasks

from slipstream.core.errors import SlipstreamError
from slipstream.web.parts.notices import tell_error
from slipstream.web.services.configs import Checked, SettingProblem
from slipstream.web.services.form.checking import check_draft
from slipstream.web.services.form.draft import Draft, changed, left_out
from slipstream.web.services.form.values import MISSING
from slipstream.web.studio import Studio

_PAUSE_SECONDS = 0.35
_MOST_UNDONE = 100

Slot = Callable[[SettingProblem | None], None]


@dataclass
class Desk:
    """One open page. Fields change the draft through it; everything else listens.

    `slots` show the problem of a setting beside it; `doors` open what a setting stands in; `show_form` turns to the
    form.
    """

    studio: Studio
    client: Client
    draft: Draft
    editing: int | None = None
    preset: str | None = None
    checked: Checked | None = None
    show_form: Callable[[], object] | None = None
    slots: dict[str, Slot] = field(default_factory=dict)
    doors: dict[str, Callable[[], None]] = field(default_factory=dict)
    on_edit: list[Callable[[], object]] = field(default_factory=list)
    on_replace: list[Callable[[], object]] = field(default_factory=list)
    on_check: list[Callable[[], object]] = field(default_factory=list)
    _before: list[tuple[str, Draft]] = field(default_factory=list)
    _round: int = 0

    def given(self, path: str) -> Any:
        """What the draft says at a path, or `MISSING`."""
        return self.draft.given(path)

    def set(self, path: str, value: Any) -> None:
        """Enter a value; `MISSING` leaves the setting out."""
        try:
            after = left_out(self.draft, path) if value is MISSING else changed(self.draft, path, value)
        except SlipstreamError as error:
            tell_error(error)
            return
        self.take(path, after)

    def take(self, path: str, draft: Draft) -> None:
        """Take a draft in which what stands at a path has changed; whoever shows it knows."""
        if draft.text != self.draft.text:
            self._take(path, draft)
            self._tell(self.on_edit)

    def replace(self, draft: Draft) -> None:
        """Take another draft; the form is built anew."""
        self._take("", draft)
        self._tell(self.on_replace)

    @property
    def can_undo(self) -> bool:
        """Whether there is an earlier draft."""
        return bool(self._before)

    def undo(self) -> None:
        """Go back by one change."""
        if self._before:
            _, self.draft = self._before.pop()
            self._tell(self.on_replace)
            self.check_soon()

    def check_soon(self) -> None:
        """Check once nothing more is typed."""
        self._round += 1
        background_tasks.create(self._check(self._round), name="check a config")

    async def check_now(self) -> Checked:
        """Check the draft as it is."""
        self._round += 1
        return await self._checked()

    def problem_at(self, path: str) -> SettingProblem | None:
        """What is wrong with a setting or group."""
        problems = () if self.checked is None else self.checked.problems
        return next((problem for problem in problems if problem.path == path), None)

    def _take(self, what: str, draft: Draft) -> None:
        if not self._before or self._before[-1][0] != what or not what:
            self._before.append((what, self.draft))
            del self._before[:-_MOST_UNDONE]
        self.draft = draft
        self.check_soon()

    async def _check(self, number: int) -> None:
        await asyncio.sleep(_PAUSE_SECONDS)
        if number == self._round:
            await self._checked()

    async def _checked(self) -> Checked:
        number, draft = self._round, self.draft
        checked = await asyncio.to_thread(check_draft, self.studio.settings, draft, editing=self.editing)
        if number == self._round:
            self.checked = checked
            by_path = {problem.path: problem for problem in checked.problems}
            for path, show in list(self.slots.items()):
                show(by_path.get(path))
            self._tell(self.on_check)
        return checked

    def _tell(self, listeners: list[Callable[[], object]]) -> None:
        with self.client:
            for listener in list(listeners):
                listener()
