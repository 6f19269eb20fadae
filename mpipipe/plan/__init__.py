"""Who gets what: pure functions of (layer costs, Cluster, Job) to a Plan."""
