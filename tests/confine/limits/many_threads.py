import threading

threading.stack_size(1 << 16)
end = threading.Event()
result = 0
try:
    while result < 2000:
        threading.Thread(target=end.wait, daemon=True).start()
        result += 1
except RuntimeError:
    pass
