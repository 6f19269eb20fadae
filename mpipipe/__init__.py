"""mpipipe: many unlike computers train one network, as a pipeline over MPI, on their CPUs."""

__version__ = "0.1.0"
