"""Who may use the served app: a file of names and salted password hashes, and patience with those who guess."""

from __future__ import annotations

import json
import os
import secrets
import stat
import tempfile
import time
import unicodedata
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from workbench.errors import FormatError, SettingError, UnknownName

LEAST, MOST = 8, 1000  # characters of a password
FREE_TRIES = 3
LONGEST_WAIT_S = 900.0


class Users:
    """A users file: JSON, argon2id hash by name, readable by its owner only."""

    def __init__(self, file: str | Path) -> None:
        self.file = Path(file)
        self._hasher = PasswordHasher()
        self._read: tuple[int, dict[str, str]] = (-1, {})  # when the file was changed, and what it said then

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._hashes())

    def add(self, name: str, password: str) -> bool:
        """Add a user, or give one another password. Returns True where the user is new.

        Raises:
            SettingError: the name or the password is none that can be used.
        """
        _check_name(name)
        if not LEAST <= len(password) <= MOST:
            raise SettingError(f"a password has {LEAST} to {MOST} characters, got {len(password)}; take a longer one")
        hashes = self._hashes() if self.file.exists() else {}
        new = name not in hashes
        self._write({**hashes, name: self._hasher.hash(_same(password))})
        return new

    def remove(self, name: str) -> None:
        """Take a user out; pages that they have open stop at the next request.

        Raises:
            UnknownName: there is no such user.
        """
        hashes = self._hashes()
        if name not in hashes:
            raise UnknownName.among("user", name, hashes, where=str(self.file))
        self._write({one: text for one, text in hashes.items() if one != name})

    def check(self, name: str, password: str) -> bool:
        """True where this is the user's password. A name that nobody has takes as long as a wrong password."""
        known = self._hashes().get(name)
        try:
            fits = self._hasher.verify(known or self._nobody, _same(password[: MOST + 1]))
        except (VerificationError, InvalidHashError):
            return False
        return fits and known is not None

    @cached_property
    def _nobody(self) -> str:
        """The hash of a password that nobody knows."""
        return self._hasher.hash(secrets.token_hex())

    def _hashes(self) -> dict[str, str]:
        try:
            state = self.file.stat()
            if self._read[0] != state.st_mtime_ns:
                _check_private(self.file, state.st_mode)
                self._read = (state.st_mtime_ns, _checked(json.loads(self.file.read_text("utf-8")), self.file))
        except FileNotFoundError as error:
            raise FormatError(f"no users file {str(self.file)!r}; make one: {_add_to(self.file)}") from error
        except ValueError as error:
            if isinstance(error, FormatError | SettingError):
                raise
            raise FormatError(
                f"{str(self.file)!r} is no users file ({error}); make one: {_add_to(self.file)}"
            ) from error
        return self._read[1]

    def _write(self, hashes: dict[str, str]) -> None:
        """Whole or not at all, and never readable by others."""
        handle, partial = tempfile.mkstemp(dir=self.file.parent, prefix=self.file.name)  # mode 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                json.dump(hashes, out, indent=1, ensure_ascii=False, sort_keys=True)
            os.replace(partial, self.file)
        except BaseException:
            os.unlink(partial)
            raise


def _check_name(name: str) -> None:
    if not name or len(name) > 64 or name != name.strip() or not name.isprintable():
        raise SettingError(f"a user's name has 1 to 64 characters that can be seen, no space at its ends, got {name!r}")


def _check_private(file: Path, mode: int) -> None:
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingError(f"{str(file)!r} can be read by other users of this machine; run: chmod 600 {file}")


def _checked(read: object, file: Path) -> dict[str, str]:
    if not isinstance(read, dict) or not all(
        isinstance(text, str) and text.startswith("$argon2") for text in read.values()
    ):
        raise FormatError(f"{str(file)!r} is no users file (an argon2 hash by name); make one: {_add_to(file)}")
    return read


def _add_to(file: Path) -> str:
    return f"workbench users add NAME --file {file}"


def _same(password: str) -> str:
    """One spelling of an accent, whatever keyboard it came from."""
    return unicodedata.normalize("NFC", password)


class Patience:
    """How long somebody who guesses has to wait: a few free tries, then twice as long after each."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: dict[tuple[str, str], tuple[int, float]] = {}  # (name, address) -> failures, when the last was

    def wait_s(self, name: str, address: str) -> float:
        """Seconds until the next try of this name from this address is listened to."""
        failures, last = self._failed.get((name, address), (0, 0.0))
        if failures < FREE_TRIES:
            return 0.0
        wait = min(2.0 ** min(failures - FREE_TRIES, 30), LONGEST_WAIT_S)
        return max(0.0, last + wait - self._clock())

    def failed(self, name: str, address: str) -> None:
        now = self._clock()
        self._failed = {key: one for key, one in self._failed.items() if now - one[1] < 2 * LONGEST_WAIT_S}
        failures, _ = self._failed.get((name, address), (0, 0.0))
        self._failed[name, address] = (failures + 1, now)

    def succeeded(self, name: str, address: str) -> None:
        self._failed.pop((name, address), None)
