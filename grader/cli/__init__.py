"""The command line: every command parses, calls one function, and renders one value."""
