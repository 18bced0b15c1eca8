"""Access to a database that several studies, processes and machines share.

- `server`: databases on a server: engines, and connections that are lost.
- `transaction`: a transaction that writes the rows of one study.
- `names`: the studies of a database by name.
"""
