"""Doing it: ranks, messages, work queues, stages. `world` and `transport` alone know mpi4py, and load it when asked."""
