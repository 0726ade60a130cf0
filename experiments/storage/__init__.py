"""Storage: the folder of a run, what its files hold, and the checksums that they are known by."""
