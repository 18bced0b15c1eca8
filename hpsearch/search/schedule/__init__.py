"""The schedule of a stage: which trials train when, decided on a virtual clock."""
