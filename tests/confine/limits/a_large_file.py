with open("large", "wb") as file:
    file.write(bytes(1 << 25))
