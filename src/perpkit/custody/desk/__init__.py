"""The desk: what custody does with one asset, from its log to the tasks of its people."""
