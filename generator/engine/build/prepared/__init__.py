"""What compiles an engine elsewhere: its graph and the commands."""
