"""Breaks off, crashes or babbles where the check swallows whatever goes wrong and takes it for an answer."""
# kata: toy-careless
# expect: careless=crashed|error|failed handles=crashed|error|failed
# with: frames
import os


def report():
    os._exit(0)


encode = decode = square = chain = walk = report


def answer():
    send(["t", ["passed", 42]])
    silence()
