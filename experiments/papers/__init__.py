"""The studies of two papers, repeated: what each printed, from a finished run of this harness."""
