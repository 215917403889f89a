"""The rooms of the compiler: parts of conditions, their Python source, columns of masks, buckets, verdicts."""
