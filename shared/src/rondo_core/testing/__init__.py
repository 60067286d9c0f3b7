"""In-memory fakes of every port; each obeys the contract suite that its AWS adapter obeys."""

from rondo_core.testing.bus import MemoryBus, MemoryEventSource
from rondo_core.testing.clock import ManualClock
from rondo_core.testing.model_store import MemoryModelStore
from rondo_core.testing.object_folders import MemoryObjectFolders
from rondo_core.testing.run_store import MemoryRunStore
from rondo_core.testing.upload_links import MemoryUploadLinks
from rondo_core.testing.workflow import MemoryWorkflow

__all__ = [
    "ManualClock",
    "MemoryBus",
    "MemoryEventSource",
    "MemoryModelStore",
    "MemoryObjectFolders",
    "MemoryRunStore",
    "MemoryUploadLinks",
    "MemoryWorkflow",
]
