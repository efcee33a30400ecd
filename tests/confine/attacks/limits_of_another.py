import resource

resource.prlimit(victim, resource.RLIMIT_CPU, (1000, 1000))
