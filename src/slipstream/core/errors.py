"""The error tree. A door prints one of these as one message, without a traceback.

SlipstreamError
├── ConfigError      a setting is unknown, of the wrong type, or contradicts another
├── DataError        a dataset folder cannot be used
│   ├── ImageError   one picture cannot be read
│   └── CaptionError one caption file cannot be read
├── ModelError       a model, or a part of it, is missing or is another model
├── AdapterError     a LoRA file does not fit or cannot be read
├── DeviceError      the machine cannot do what was asked
├── HubError         the Hugging Face hub cannot be reached or refuses
├── RunError         a run directory is in use, exists, or is damaged
│   ├── RunBusyError
│   └── DiskFullError
├── JobError         a job of the queue cannot be changed like that, or the queue's database cannot be used
│   └── UnknownJobError
└── TrainingError    training cannot go on (a non-finite loss)
"""

from __future__ import annotations


class SlipstreamError(Exception):
    """What went wrong, where, and what to change.

    Args:
        message: what was got and what was expected.
        where: the file, setting or step concerned.
        fix: what the user can do about it.
    """

    def __init__(self, message: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        remedy = f"\n  fix: {self.fix}" if self.fix else ""
        return f"{place}{self.message}{remedy}"


class ConfigError(SlipstreamError):
    """A setting is unknown, of the wrong type, or contradicts another."""


class DataError(SlipstreamError):
    """A dataset folder cannot be used."""


class ImageError(DataError):
    """One picture cannot be read."""


class CaptionError(DataError):
    """One caption file cannot be read."""


class ModelError(SlipstreamError):
    """A model, or a part of it, is missing or is another model."""


class AdapterError(SlipstreamError):
    """A LoRA file does not fit or cannot be read."""


class DeviceError(SlipstreamError):
    """The machine cannot do what was asked."""


class HubError(SlipstreamError):
    """The Hugging Face hub cannot be reached or refuses; nothing here was changed."""


class RunError(SlipstreamError):
    """A run directory is in use, exists already, or is damaged."""


class RunBusyError(RunError):
    """Another process holds the run."""


class DiskFullError(RunError):
    """No space is left for a file; what was there before survives."""


class JobError(SlipstreamError):
    """A job of the queue cannot be changed like that, or the queue's database cannot be used."""


class UnknownJobError(JobError):
    """The queue has no job of this number."""


class TrainingError(SlipstreamError):
    """Training cannot go on."""
