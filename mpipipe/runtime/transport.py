"""Point-to-point messages over MPI. One of the two files that know mpi4py; the other is `world`."""

import math
import time
from typing import Any

from mpi4py import MPI

from mpipipe.errors import MpipipeError
from mpipipe.layers import Array


class MpiTransport:
    """Isend (or Issend), Irecv and Testsome on one communicator, whose rank numbers are the peers."""

    def __init__(self, comm: MPI.Comm) -> None:
        self.comm = comm
        self.most = int(comm.Get_attr(MPI.TAG_UB) or 32767)
        self.status = MPI.Status()

    def send(self, array: Array, peer: int, tag: int) -> Any:
        """Isend from where the array is."""
        return self.comm.Isend([array, MPI.BYTE], dest=peer, tag=self._tag(tag))

    def send_to_meet(self, array: Array, peer: int, tag: int) -> Any:
        """Issend from where the array is."""
        return self.comm.Issend([array, MPI.BYTE], dest=peer, tag=self._tag(tag))

    def met_at(self, request: Any) -> float:
        """MPI does not tell."""
        return time.perf_counter()

    def receive(self, array: Array, peer: int, tag: int) -> Any:
        """Irecv to where the array is."""
        return self.comm.Irecv([array, MPI.BYTE], source=peer, tag=self._tag(tag))

    def finished(self, requests: list[Any]) -> list[int]:
        """Testsome."""
        return list(MPI.Request.Testsome(requests) or ())

    def count(self, request: Any) -> int | None:
        """Test, and bytes of the status."""
        return int(self.status.Get_count(MPI.BYTE)) if request.Test(self.status) else None

    def soon_s(self) -> float:
        """Not known."""
        return math.inf

    def _tag(self, tag: int) -> int:
        if tag > self.most:
            raise MpipipeError(f"message tag {tag} is beyond this MPI's {self.most}; use fewer micro-batches a batch")
        return tag
