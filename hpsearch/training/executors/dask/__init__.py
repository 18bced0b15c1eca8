"""Training on a Dask cluster.

- `address`: the address of a cluster, and certificates.
- `connection`, `local`: the connection to a scheduler; a cluster on this machine.
- `remote`: what runs on workers. `rows`: the rows, sent to each worker once.
- `members`, `executor`: the workers, and the executor that sends tasks to them.
"""
