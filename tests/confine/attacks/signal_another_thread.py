libc.call("syscall", numbers["tgkill"], victim, victim, 0)
