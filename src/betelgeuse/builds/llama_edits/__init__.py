"""What is changed in llama.cpp's source, and why; images/llama-server/README.md tells what it brought."""

from typing import Final

from betelgeuse.builds.llama_edits import compute, queue, requests
from betelgeuse.builds.llama_edits.edit import Edit

EDITS: Final = (*requests.EDITS, *queue.EDITS, *compute.EDITS)

__all__ = ["EDITS", "Edit"]
