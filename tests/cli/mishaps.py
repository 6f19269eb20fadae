"""Mishaps that a test plants in the process of a command: each makes a rare moment last."""

import errno
import os
import time

import h5py
from matplotlib.figure import Figure

from mpipipe import measure, preview, steps, survey
from mpipipe.checkpoint import Writer
from mpipipe.data import Part
from mpipipe.runtime.conduct import Conductor
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


def no_picture():
    """The library that draws fails, as with a setting of the user's that it does not like."""

    def fail(self, *more, **named):
        raise RuntimeError("latex could not be found")

    Figure.savefig = fail


def no_timeline():
    """The file of a timeline cannot be written."""

    def fail(timeline, path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    steps.write_timeline = fail


def slow_steps():
    """Each step takes a while."""

    def train(self, *more):
        time.sleep(0.1)
        return whole(self, *more)

    whole, Conductor.train = Conductor.train, train


def no_measuring():
    """Measuring hosts or layers raises, so a refusal must come before it."""

    def fail(*more, **named):
        raise AssertionError("measured")

    survey.measure_rates = preview.measure_rates = measure.time_layers = fail
