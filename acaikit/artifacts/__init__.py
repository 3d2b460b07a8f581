"""What a run leaves on disk: HDF5 files that are published whole, hashed, and readable with h5py alone."""
