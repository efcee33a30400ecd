def probe(module:
