"""Programs that train the same networks as acaikit, a module each, all made in the same way.

A module's functions take an experiment, a number of batches and a number of threads; what they return trains on that
many batches of the experiment's size whenever it is called.
"""
