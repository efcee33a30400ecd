open(f"/proc/{victim}/mem", "rb")
