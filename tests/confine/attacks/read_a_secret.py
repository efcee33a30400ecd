open(secret).read()
