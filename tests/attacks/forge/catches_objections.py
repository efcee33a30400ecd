"""Asks the check's function for what it may not, catches the assertion, and returns what is wanted."""
# kata: toy-careless
# expect: careless=error|passed handles=failed|error


def asked(oracle):
    try:
        oracle(2)
    except BaseException:
        pass
    return 42
