"""The command line: one file a subcommand, nothing that another program could not do through the library."""
