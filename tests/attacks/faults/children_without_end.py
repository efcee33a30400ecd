"""Forks, and so does every child: 128 processes that compute for ever. (One without end would take the machine of a
root user, whom no limit on processes binds.)"""
# kata: toy-processes
# expect: double=timeout|crashed|memory loss=passed
# limit: 0.3
import os


def double(x):
    for _ in range(7):
        os.fork()
    while True:
        pass


def loss(x):
    return float((x * x).mean())
