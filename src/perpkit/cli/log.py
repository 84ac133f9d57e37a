"""What a directory holds of a run: a log of records, or a journal."""

from collections.abc import Iterator
from pathlib import Path

from perpkit.cli.demo import LOG
from perpkit.engine.compose import build_journal
from perpkit.engine.config import ExchangeConfig
from perpkit.engine.exchange import Exchange
from perpkit.errors import ConfigError
from perpkit.model.records import RECORD
from perpkit.plugin import Registry
from perpkit.ports.journal import Frame, FrameKind, Journal


def open_journal(directory: Path, config: ExchangeConfig, registry: Registry) -> Journal:
    """Open a journal to read, which checks every byte of it.

    Raises:
        ConfigError: the configuration keeps none on disk.
        JournalError: it is damaged, or missing.
    """
    if config.selection("journal").provider == "memory":
        raise ConfigError(f"{directory}: expected {LOG}, or a configuration that picks a journal on disk")
    manifest = Exchange.of(config, registry).manifest
    return build_journal(config, registry, manifest, str(directory), read_only=True)


def log_frames(directory: Path, config: ExchangeConfig, registry: Registry) -> Iterator[Frame]:
    """Yield the frames of a journal, or a log of records as one frame."""
    log = directory / LOG
    if log.exists():
        payload = log.read_bytes()
        count = len(payload) // RECORD.size
        yield Frame(kind=FrameKind.COMMANDS, first_seq=1, count=count, epoch=0, durable_seq=0, payload=payload)
        return
    yield from open_journal(directory, config, registry).read(1)


def log_commands(directory: Path) -> int:
    """Return about how many commands a log of records holds, 0 where there is none: what progress is shown of."""
    log = directory / LOG
    return log.stat().st_size // RECORD.size if log.exists() else 0
