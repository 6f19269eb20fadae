"""Mishaps that a test plants in the process of a command: each makes a rare moment last."""

import time

import h5py

from mpipipe.checkpoint import Writer
from mpipipe.data import Part
from mpipipe.runtime.workqueue import WorkQueue


def slow_disk():
    """Each piece of a checkpoint takes a second, with HDF5's lock held as while it writes."""

    def write(self, piece, array):
        with h5py._objects.phil:
            time.sleep(1)
        whole(self, piece, array)

    whole, Writer.write = Writer.write, write


def slow_take():
    """A task of a program that has ended is not counted as such for a while. (Those of measuring have no key.)"""

    def take(self, wait_s):
        done = whole(self, wait_s)
        if done is not None and done.key is not None:
            time.sleep(0.3)
        return done

    whole, WorkQueue.take = WorkQueue.take, take


def slow_read():
    """A worker takes a while to read a micro-batch, with HDF5's lock held."""

    def fill(self, rows, x):
        with h5py._objects.phil:
            time.sleep(0.3)
        whole(self, rows, x)

    whole, Part.fill = Part.fill, fill
