"""A plugin that offers a part named `fake` for every port. Each part does nothing, and notes that it was built."""

from enum import Enum, IntEnum

import attrs

from perpkit.plugin import PORTS, hookimpl

BUILT = []


class Mode(Enum):
    PLAIN = 1
    LAST_PRICE = 2


class Level(IntEnum):
    LOW = 1


@attrs.frozen(kw_only=True)
class FakeOptions:
    size: int = 1
    label: str = ""
    tags: tuple[str, ...] = ()
    loud: bool = False
    mode: Mode = Mode.PLAIN
    level: Level = Level.LOW


class FakePart:
    def __init__(self, port, context, options):
        self.port, self.context, self.options = port.key, context, options
        for member in port.members:
            setattr(self, member, lambda *_: 0)
        BUILT.append(self)


def offer(port):
    @hookimpl
    def hook():
        build = lambda context, options: FakePart(port, context, options)  # noqa: E731
        return [port.provider(name="fake", build=build, options=FakeOptions, summary=f"a fake {port.key}")]

    return hook


for port in PORTS:
    globals()[port.hook] = offer(port)
