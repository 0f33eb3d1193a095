"""Use shared memory that a worker process has made, when that is gone."""

from __future__ import annotations

from multiprocessing import shared_memory

from common import say
from processes.kin import by_asyncrun


def make() -> str:
    memory = shared_memory.SharedMemory(create=True, size=3)
    content = memory.buf
    assert content is not None
    content[:3] = b"abc"
    del content
    memory.close()
    return memory.name


if __name__ == "__main__":
    memory = shared_memory.SharedMemory(by_asyncrun(make))
    say(bytes(memory.buf or b"")[:3])
    memory.close()
    memory.unlink()
