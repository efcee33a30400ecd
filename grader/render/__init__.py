"""What a terminal shows: pure functions from values to what rich can print, and the screen it is printed on.

Text of others (an attempt's output and messages, names of files) is only ever put into `Text`, through `printable`.
"""
