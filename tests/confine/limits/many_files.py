for i in range(16):
    with open(f"part{i}", "wb") as file:
        file.write(bytes(1 << 20))
