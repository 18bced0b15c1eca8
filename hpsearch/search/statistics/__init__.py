"""Statistics whose usual libraries take long to import."""
