"""Every way pachvault fails, and the exit code of each.

    PachvaultError        1   failed
    ├── UsageError        2   bad input: a flag, a policy, an address
    │   └── InvalidInputError     a text has a form that means nothing
    ├── NoVaultError     10   no vault there, or not one this version reads
    ├── BusyError        11   the vault or the backup repo is in use by another run
    ├── VaultKeyError    12   wrong or missing key
    ├── DamageError      13   the vault is not what was stored; one of:
    │   ├── AbsentError       an object that should be there is not there
    │   └── CorruptError      an object is there, and its bytes are wrong
    │       └── TakenError    another object has the name already
    ├── StoreError        1   the target does not answer or refuses: says nothing of what is stored
    │   ├── FullError         there is no room left
    │   └── DeniedError       this user may not do that
    └── PachydermError    1   the cluster refused
        ├── TransientError    the cluster does not answer: worth another try
        ├── UnsupportedError  this Pachyderm has no such call, or the feature is switched off
        └── SourceGoneError   pachd says that what was to be read is no longer there

Unreachable is not absent, and absent is not corrupt. Whoever takes "absent" for an answer catches
AbsentError (a store) or SourceGoneError (a cluster) by name. DamageError is caught where either kind is a
finding of one thing. Running out of memory is Python's own MemoryError, which nothing but the outermost
layer catches: it says nothing of the data either.

An error carries fields (what, where); the sentence a user reads is its `str`, one line, and is
printed once, by the outermost layer.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_PARTIAL = 3
EXIT_NO_VAULT = 10
EXIT_BUSY = 11
EXIT_KEY = 12
EXIT_DAMAGE = 13
EXIT_INTERRUPTED = 130


class PachvaultError(Exception):
    """What went wrong, where, and what to do about it, in one line."""

    exit_code = EXIT_FAILED

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        self.what = what
        self.where = where
        self.hint = hint
        super().__init__(what)

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        return f"{line} ({self.hint})" if self.hint else line


class UsageError(PachvaultError):
    """The input is wrong: nothing was done."""

    exit_code = EXIT_USAGE


class InvalidInputError(UsageError, ValueError):
    """A text has a form that means nothing. A ValueError too: pydantic adds the field's name to it."""


class NoVaultError(PachvaultError):
    """The target holds no vault, or one this version does not read."""

    exit_code = EXIT_NO_VAULT


class BusyError(PachvaultError):
    """Another run holds what this one needs."""

    exit_code = EXIT_BUSY


class VaultKeyError(PachvaultError):
    """The objects are sealed with a key that was not given."""

    exit_code = EXIT_KEY


class DamageError(PachvaultError):
    """Stored objects are absent or corrupt. Raise one of its kinds."""

    exit_code = EXIT_DAMAGE


class AbsentError(DamageError):
    """An object that should be in the store is not there, by the store's own word."""


class CorruptError(DamageError):
    """Stored bytes are not what their name, or what names them, promises."""


class TakenError(CorruptError):
    """Another complete object has the name already: it is damaged, or what was to be written is."""


class StoreError(PachvaultError):
    """The target does not answer, or refuses the call."""


class FullError(StoreError):
    """The target has no room left."""


class DeniedError(StoreError):
    """The target does not allow this to this user."""


class PachydermError(PachvaultError):
    """Pachyderm refused the call."""


class TransientError(PachydermError):
    """Pachyderm does not answer, or failed in a way that may pass: worth another try."""


class UnsupportedError(PachydermError):
    """This Pachyderm has no such call: it is older, or the feature (authentication) is switched off."""


class SourceGoneError(PachydermError):
    """Pachyderm says that a source can no longer be read: deleted, squashed, forgotten."""
