"""Search: the next points to try, the trials that continue, and the winner."""
